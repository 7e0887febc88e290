"""The records that travel between the parts: frozen, typed, and free of behaviour that needs the others."""
