"""The records that the other packages exchange: frozen, typed, and without logic that needs those packages."""
