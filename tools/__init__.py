"""What makes and tries the packages of a release (docs/releasing.md)."""
