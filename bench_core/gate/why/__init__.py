"""Why a cell is slower."""
