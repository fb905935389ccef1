"""Pictures of workflows: `flow` says what is drawn, `mermaid` and `svg` draw it."""
