"""Ground floor: errors, boundary checks, registries, linear algebra. No science lives here."""
