"""The `.rwf` language: text to checked IR, and IR to a generator of effects.

The stages, each in its module: `source`, `grammar`, `parse` (with `syntax_errors`), `resolve`,
`check`, `ir`, `evaluate`; `compile` runs them. The only lark of the library is in here.
"""
