"""The state that workers share, the order of their work, and overtaken clicks."""
