"""What the audit looks at: one module for each kind of thing. Runs in: zygote; ``check``."""
