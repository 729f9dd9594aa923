# tar|xz and tar|zstd there and back, with sums in between.
set -e
mkdir -p tree/a/b; i=0
while [ $i -lt 60 ]; do seq $i $((i * 50)) > tree/a/b/$i.txt; i=$((i+1)); done
ln -s a/b/1.txt tree/link; ln tree/a/b/2.txt tree/hard; chmod 640 tree/a/b/3.txt
tar="tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=2026-01-01"
for z in xz zstd gzip; do
	$tar -cf - tree | $z -c > tree.$z; $z -dc tree.$z | cksum
	mkdir out.$z; $z -dc tree.$z | tar -xf - -C out.$z; diff -r tree out.$z/tree && echo "$z same"
done
$tar -cJf tree.tar.xz tree; $tar --zstd -cf tree.tar.zst tree
tar -tvf tree.tar.xz | tail -n 3; tar --zstd -tf tree.tar.zst | wc -l
$tar -cf - tree | xz -T2 --block-size=16KiB | zstd -T2 -q | zstd -dq | xz -dc | sha256sum
head -c 100 tree.xz | xz -dc >/dev/null 2>&1 || echo "truncated: $?"
find tree -type f -print0 | sort -z | xargs -0 -n 7 cksum | cksum
