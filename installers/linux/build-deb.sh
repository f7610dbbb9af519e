#!/usr/bin/env bash
# Build the package for Debian 12 and later. It should fit Ubuntu 24.04, too, but was not tried there. Needs the package
# index, for the wheels, but no root.
#
# Usage: installers/linux/build-deb.sh [FOLDER]   FOLDER: where the package goes, by default dist
#
# The program is in /usr/lib/trayagent, a virtual environment that also sees the system's packages. It contains
# the Python packages that Debian 12 does not have, or has only in older versions. Some have parts that are compiled for
# one version of Python and one architecture. The names of these files contain both, so the parts for each version are
# beside each other, and the directory of each Python is a link to the same directory.
# The same sources and date (SOURCE_DATE_EPOCH, by default that of the last commit) give the same file.
# MAINTAINER is the builder, as "Name <address>".
set -euo pipefail
umask 022
cd "$(dirname "$0")/../.."
into=${1-dist}
python_versions=(3.11 3.12 3.13 3.14) # Debian 12, Ubuntu 24.04, Debian 13, and what follows

say() { printf 'build-deb: %s\n' "$*" >&2; }

for tool in dpkg-deb strip; do
    if ! command -v "$tool" >/dev/null; then
        say "\`$tool\` is missing. Install it: sudo apt-get install dpkg binutils"
        exit 1
    fi
done
[ -x .venv/bin/python ] || installers/make-venv
python=.venv/bin/python

architecture=$(dpkg --print-architecture)
case $architecture in
    amd64) machine=x86_64 ;;
    arm64) machine=aarch64 ;;
    *)
        say "there are no wheels for $architecture. Use installers/linux/install.sh"
        exit 1
        ;;
esac
date=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat --format=%Y pyproject.toml)}
export SOURCE_DATE_EPOCH=$date
maintainer=${MAINTAINER:-The trayagent authors <maintainers@trayagent.invalid>}
version=$($python -c 'import trayagent; print(trayagent.__version__)')

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
private=$root/usr/lib/trayagent
site=$private/lib/site-packages
mkdir -p "$private/lib" "$private/bin" "$root/usr/bin" "$root/DEBIAN"

say "fetching the wheels for Python ${python_versions[*]} on $machine"
platforms=()
for glibc in 5 12 17 24 26 27 28 31 34 35 36; do platforms+=(--platform "manylinux_2_${glibc}_$machine"); done
pip=("$python" -m pip --quiet --disable-pip-version-check)
"$python" installers/linux/deb_parts.py --carried >"$work/carried"
jobs=()
for version_of_python in "${python_versions[@]}"; do
    "${pip[@]}" install --no-deps --no-compile --target "$work/python$version_of_python" --only-binary :all: \
        --implementation cp --python-version "$version_of_python" "${platforms[@]}" --platform "manylinux2014_$machine" \
        --requirement "$work/carried" &
    jobs+=($!)
done
for job in "${jobs[@]}"; do wait "$job"; done
mv "$work/python${python_versions[0]}" "$site"
for version_of_python in "${python_versions[@]}"; do
    mkdir "$private/lib/python$version_of_python"
    ln -s ../site-packages "$private/lib/python$version_of_python/site-packages"
    other=$work/python$version_of_python
    [ -d "$other" ] || continue # the first one
    if ! diff --recursive --brief --exclude='*.so' --exclude=RECORD --exclude=WHEEL "$site" "$other" >&2; then
        say "the wheels for Python ${python_versions[0]} and $version_of_python differ in more than their compiled parts"
        exit 1
    fi
    (cd "$other" && find . -name '*.so' -exec cp --parents {} "$site" ';')
done
rm -rf "${site:?}/bin" # commands of the dependencies, which do not belong to this package
"${pip[@]}" wheel --no-deps --wheel-dir "$work" .
"${pip[@]}" install --no-deps --no-compile --target "$site" "$work"/trayagent-*.whl

# Files that only pip, a compiler or another system reads. The package has its own copies of the files of share/ in /usr/share.
rm -rf "${site:?}"/{bin,share} "$site"/*.dist-info/{RECORD,INSTALLER,REQUESTED,direct_url.json,WHEEL,top_level.txt,entry_points.txt}
rm -rf "$site"/*.dist-info/{licenses,COPYING*,LICENSE*,sboms} # see /usr/share/doc/trayagent/copyright
find "$site" \( -name '*.c' -o -name '*.pyx' -o -name '*.pxd' \) -delete
find "$site" -name '*.so' -exec strip --strip-unneeded {} + -exec chmod 644 {} +

ln -s ../../../bin/python3 "$private/bin/python3"
printf 'home = /usr/bin\ninclude-system-site-packages = true\n' >"$private/pyvenv.cfg"
cat >"$private/bin/trayagent" <<'SCRIPT'
#!/usr/lib/trayagent/bin/python3 -I
import sys

from trayagent.cli.main import entry

sys.exit(entry())
SCRIPT
chmod 755 "$private/bin/trayagent"
ln -s ../lib/trayagent/bin/trayagent "$root/usr/bin/trayagent"

"$python" installers/linux/deb_parts.py "$root" "$date" "$maintainer"
install -D -m 644 installers/linux/lintian-overrides "$root/usr/share/lintian/overrides/trayagent"
for script in postinst prerm; do install -m 755 "installers/linux/$script" "$root/DEBIAN/$script"; done
install -D -m 755 installers/linux/nm-dispatcher-mptcp "$root/usr/share/doc/trayagent/examples/nm-dispatcher-mptcp"
install -D -m 755 installers/linux/rtupdate "$root/usr/share/python3/runtime.d/trayagent.rtupdate"

newest=${python_versions[-1]}
cat >"$root/DEBIAN/control" <<CONTROL
Package: trayagent
Version: $version
Architecture: $architecture
Maintainer: $maintainer
Installed-Size: $(du --apparent-size --summarize --block-size=1024 "$root/usr" | cut -f 1)
Depends: python3 (>= ${python_versions[0]}), python3 (<< ${newest%.*}.$((${newest#*.} + 1))), $("$python" installers/linux/deb_parts.py --from-debian), openssh-client, libc6 (>= 2.36)
Recommends: bash-completion
Suggests: tmux | screen, openssh-server
Section: net
Priority: optional
Description: keep ssh masters and their forwards alive across changes of network
 trayagent keeps ssh masters alive, the processes behind ControlMaster and
 ControlPath, on a machine that moves between networks. When the network
 changes, it proves which masters are stale, ends only those, connects again
 at once, and opens every forward again on the same control path.
 .
 On a desktop it shows a tray icon; it works the same without one.
CONTROL
(cd "$root" && find usr -type f -print0 | sort -z | xargs -0 md5sum >DEBIAN/md5sums)
chmod -R u+rwX,go+rX,go-w "$root"
find "$root" -depth -exec touch --no-dereference --date="@$date" {} +

mkdir -p "$into"
package=$(cd "$into" && pwd)/trayagent_${version}_$architecture.deb
dpkg-deb --root-owner-group --build "$root" "$package" >/dev/null
say "$package is built. Install it: sudo apt-get install $package"
