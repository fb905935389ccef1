"""The language server: `raftoral lsp`. Needs ``pip install 'raftoral[lsp]'``."""
