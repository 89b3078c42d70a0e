"""The ReAct agent: spec, loop, protocol, tools."""
