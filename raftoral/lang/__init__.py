"""The `.rwf` language: text to checked IR, and IR to a generator of effects.

The stages: `source`, `grammar`, `parse` (with `syntax_errors`), `imports`, `definitions`, `check`,
`ir` (read again by `verify`), `evaluate`; `compile` runs them. The only lark of the library is in here.
"""
