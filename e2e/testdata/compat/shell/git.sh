# A repository's life: every object's name must be native git's.
set -e
export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@example.invalid GIT_AUTHOR_DATE='2026-01-02T03:04:05Z'
export GIT_COMMITTER_NAME=C GIT_COMMITTER_EMAIL=c@example.invalid GIT_COMMITTER_DATE='2026-01-02T03:04:06Z'
export GIT_CONFIG_NOSYSTEM=1 GIT_PAGER=cat
git config --global init.defaultBranch main; git config --global gc.auto 0; git config --global advice.detachedHead false
git init -q work; cd work
for i in 1 2 3 4 5 6; do seq 1 $((i * 40)) > f$i; git add f$i; git commit -m "commit $i"; done
git log --oneline --stat; git log --format='%H %an %s' | cksum
git switch -c topic 2>&1; echo topic >> f1; git commit -am topic; git switch main 2>&1
echo main >> f6; git commit -am main; git merge topic -m merge; git log --graph --oneline
git mv f2 moved; echo x > new; git status --short; git stash -u; git status --short; git stash pop
git diff HEAD --stat; git commit -am moved -q; git tag -a v1 -m tag
git grep -c 7 | sort; git blame -s f6 | tail -n 2
git rebase -q --onto main~1 main~1 main && git rev-parse HEAD
git gc -q; git count-objects -v | grep -v size; git fsck --full 2>&1
cd ..; git clone -q --bare work bare.git; git clone -q bare.git copy; cd copy
echo hook > .git/hooks/pre-commit.txt; printf '#!/bin/sh\necho "hook ran"\n' > .git/hooks/pre-commit; chmod +x .git/hooks/pre-commit
echo y > pushed; git add pushed; git commit -m pushed 2>&1; git push -q origin main 2>&1; git -C ../bare.git log -1 --format=%H
git archive HEAD | tar -t | cksum
git bisect start HEAD HEAD~4 >/dev/null; git bisect run sh -c 'test $(ls | wc -l) -lt 7' | grep -c 'first bad'
git checkout -q nowhere 2>&1 || echo "checkout: $?"
