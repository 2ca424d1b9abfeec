"""What is looked for in an existing configuration of nginx: rules by concern, all pure."""
