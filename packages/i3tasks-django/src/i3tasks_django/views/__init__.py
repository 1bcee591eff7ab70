"""HTTP in, verdict out; no logic of their own."""
