"""Pure maths on tensors: no classes, no state, no graph objects."""
