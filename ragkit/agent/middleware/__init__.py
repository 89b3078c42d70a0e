"""What happens around the model and tool calls of the agent loop."""
