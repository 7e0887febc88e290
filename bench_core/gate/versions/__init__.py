"""Makes versions that workers can import, from git revisions, installs and interpreters."""
