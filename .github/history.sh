#!/usr/bin/env bash
# The results of all nights are on a branch of their own, so that the main branch does not grow with them.
#
#   history.sh take   adds the results on the branch to results/
#   history.sh keep   adds results/ to the branch, and pushes it; GITHUB_TOKEN may write to the repository
set -euo pipefail

branch=bench-core-history
work=.asv/history

case "${1-}" in
take)
  rm -rf "$work" && git worktree prune
  if git fetch --quiet origin "refs/heads/$branch"; then
    git worktree add --quiet --detach "$work" FETCH_HEAD
  else
    git worktree add --quiet --detach --no-checkout "$work"
    git -C "$work" checkout --quiet --orphan "$branch"
    git -C "$work" read-tree --empty
  fi
  mkdir -p "$work/results" results
  cp -R "$work/results/." results/
  ;;
keep)
  rm -rf "$work/results" && cp -R results "$work/results"
  git -C "$work" add --all results
  git -C "$work" diff --cached --quiet && { echo "no new results"; exit 0; }
  git -C "$work" -c user.name=github-actions -c user.email=github-actions@users.noreply.github.com \
    commit --quiet --message "Results of $(date --utc +%F)"
  # The token is handed over in the environment, where no other user of the machine sees it.
  if [ -n "${GITHUB_TOKEN-}" ]; then
    export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=http.extraHeader
    GIT_CONFIG_VALUE_0="Authorization: Basic $(printf 'x-access-token:%s' "$GITHUB_TOKEN" | base64 --wrap=0)"
    export GIT_CONFIG_VALUE_0
  fi
  git -C "$work" push --quiet origin "HEAD:refs/heads/$branch"
  ;;
*)
  echo "usage: history.sh take|keep" >&2
  exit 2
  ;;
esac
