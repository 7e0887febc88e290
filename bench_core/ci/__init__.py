"""What runs in a workflow of GitHub: the steps of the action (``action.yml``), the comment on a pull request, and the
label that accepts a regression. The head of a pull request, and every text that comes from it, is hostile."""
