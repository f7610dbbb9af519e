# make demo    show a change of network in a sandbox: two networks, a real sshd
# make test    run every test
# make test-long  all that is checked once per release: fleet-check, roam-long and chaos-long
# make roam-long  random moves, outages and kills for hosts that roam, a long gap, and fuzzing; about an hour
# make chaos-long  kill the agent 300 times while 3 and while 30 hosts recover; an hour or two
# make bench   measure recovery times, beside the alternatives
# make prove HISTORIES=1000000    play that many random histories on all cores; it can be stopped and continued
# make fuzz SECONDS_EACH=60    fuzz the parsers of what other programs, servers and users write
# make lint    check style and types
# make coverage  measure how much of core, config, ipc and history the tests reach; fail below a floor
# make deb     build the package for Debian 12 and later in dist/
# make release  build sdist, wheel and package in dist/, check them, and print what to upload
# make fleet-check  check the Ansible role with ansible-lint and a run against a real sshd
# make translations  bring the catalogues up to date with the sources, and compile them
# make reference  regenerate docs/configuration.md from the model
# make site    build the documentation site in build/site
# make fresh   create trees of Debian 12 and 13, and run demo, package (also under systemd) and tests in each (root, debootstrap)
# make systemd  only the package under systemd as process 1: boot, logins, logouts, kills, upgrades, removals
# make desktops  take pictures of icon, menu and messages on KDE, GNOME, sway, LXQt and Cinnamon in build/desktops (root, debootstrap)
#
# Each target creates .venv. You need git, make, and Python 3.11 or newer with venv.

SHELL := /bin/bash
PYTHON_OF_VENV := .venv/bin/python

# Programs that the sandbox needs, and the additional ones for its tests.
LAB_TOOLS := ssh ssh-keygen sshd ip nft unshare nsenter
TEST_TOOLS := $(LAB_TOOLS) ssh-agent ssh-add ss ps kill tmux screen dbus-daemon openssl autossh NetworkManager nmcli nm-openvpn-service openvpn
# Login shells that a server may have, and shells with completions.
TEST_TOOLS += dash zsh fish tcsh
# A desktop for the tests of the tray and the notifications.
TEST_TOOLS += Xvfb xfce4-panel xfconfd i3 i3bar dunst xfce4-notifyd gio
# Programs for ProxyCommand.
TEST_TOOLS += socat ncat nc corkscrew
# Other ssh servers.
TEST_TOOLS += dropbear tinysshd tinysshd-makekey tinysshd-printkey
# Programs that users run through a connection.
TEST_TOOLS += git rsync vim sshfs
# The macOS code uses lsof; Linux has it, too.
TEST_TOOLS += lsof
# For the manual page, the scripts and the package.
TEST_TOOLS += groff shellcheck strip

# Programs of `make bench ARGS=clients`. Without one of them, its row of the table says so.
CLIENT_TOOLS := git rsync scp sftp sshfs ansible-playbook tmux sshuttle mosh mosh-server

# Debian suites whose OpenSSH the tests use beside the machine's own. Where they cannot be fetched, tests are skipped.
SUITES := trixie sid

# Debian suites of `make fresh`: those in which each release is tested.
SUITE := bookworm trixie

# Number of tests at the same time. Most of them wait for a network, a panel or an sshd, not for a processor: all
# together take 14 minutes of processor time, which two processors have in 7. With six at once, a third was idle.
AT_ONCE := 8

# Random histories that `make prove` plays.
HISTORIES := 20000

# How long `make fuzz` fuzzes each target.
SECONDS_EACH := 60

# Minimum coverage of each package in percent, one below the measured value.
FLOORS := core:96 config:97 ipc:93 history:98

# Tools that installers/lab-tools only unpacked.
export PATH := $(CURDIR)/.tools/bin:$(PATH)

# Each worker imports all tests. With their bytecode that takes 3 s of processor time, without it 12 s.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help site demo test test-tools test-long roam-long chaos-long bench prove fuzz lint coverage deb release reference fresh systemd desktops fleet-check translations

help:
	@sed -n 's/^# make /make /p' Makefile

# Stamps: make installs the project again when its dependencies may have changed.
.venv/.for-use: pyproject.toml installers/make-venv
	@installers/make-venv
	@touch $@

.venv/.for-development: pyproject.toml installers/make-venv
	@installers/make-venv dev
	@touch $@ .venv/.for-use

.venv/.for-site: pyproject.toml installers/make-venv
	@installers/make-venv site
	@touch $@

demo: .venv/.for-use
	@installers/lab-tools $(LAB_TOOLS)
	@$(PYTHON_OF_VENV) -m trayagent demo $(ARGS)

bench: .venv/.for-use
	@installers/lab-tools $(LAB_TOOLS)
	@[[ "$(ARGS)" != *clients* ]] || installers/lab-tools $(CLIENT_TOOLS) || true
	@$(PYTHON_OF_VENV) -m bench $(ARGS)

# Only pure code: no tools are needed.
prove: .venv/.for-development
	@$(PYTHON_OF_VENV) -m tests.sim.prove $(HISTORIES) $(ARGS)

# ARGS="config ipc" fuzzes only these targets.
fuzz: .venv/.for-development
	@$(PYTHON_OF_VENV) -c "import atheris" 2>/dev/null || installers/make-venv dev,fuzz
	@$(PYTHON_OF_VENV) -m tests.fuzz --seconds $(SECONDS_EACH) $(ARGS)

# A missing tool skips its tests on a desktop. With CI set it is a failure.
test-tools:
	@installers/lab-tools $(TEST_TOOLS) || test -z "$$CI"
	@installers/lab-ssh $(SUITES) || true

# The agents that the tests start write no bytecode; without compileall each would compile all modules at its start,
# which takes a third of that time.
test: .venv/.for-development test-tools
	@$(PYTHON_OF_VENV) -m compileall -q trayagent
	@$(PYTHON_OF_VENV) -m pytest -n $(AT_ONCE) --dist worksteal $(ARGS)

# Once per release: the tests marked `long`, and longer runs of others.
test-long: fleet-check roam-long chaos-long

# Once per release.
roam-long: .venv/.for-development
	@installers/lab-tools $(TEST_TOOLS) || test -z "$$CI"
	@TRAYAGENT_ROAM_CHAOS=300 TRAYAGENT_ROAM_MOVES=100 TRAYAGENT_ROAM_FUZZ_S=600 TRAYAGENT_ROAM_GAP_S=600 \
		$(PYTHON_OF_VENV) -m pytest tests/roaming/test_roaming_fuzz.py tests/roaming/test_roaming_ssh.py \
		tests/lab/roaming/test_roaming_chaos.py \
		tests/lab/roaming/test_roaming_moves.py::test_a_session_survives_a_long_gap $(ARGS)

# Once per release.
chaos-long: .venv/.for-development
	@installers/lab-tools $(TEST_TOOLS) || test -z "$$CI"
	@TRAYAGENT_KILLS=300 $(PYTHON_OF_VENV) -m pytest -n 2 tests/lab/agent/test_chaos_kills.py $(ARGS)

lint: .venv/.for-development
	@$(PYTHON_OF_VENV) -m ruff check .
	@$(PYTHON_OF_VENV) -m ruff format --check .
	@$(PYTHON_OF_VENV) -m mypy
	@$(PYTHON_OF_VENV) -m mypy --platform darwin --cache-dir .mypy_cache/darwin trayagent

# Only the tests of these packages count, without the simulation and the laboratory.
coverage: .venv/.for-development
	@$(PYTHON_OF_VENV) -m coverage run -m pytest --quiet --reruns 1 tests/core tests/stories tests/config tests/ipc tests/history
	@$(PYTHON_OF_VENV) -m coverage report
	@for floor in $(FLOORS); do \
	    $(PYTHON_OF_VENV) -m coverage report --format=total --include="trayagent/$${floor%:*}/*" \
	        --fail-under=$${floor#*:} >/dev/null || { echo "coverage of $${floor%:*} is below $${floor#*:} %" >&2; exit 1; }; \
	done

deb: .venv/.for-use
	@installers/linux/build-deb.sh

release: .venv/.for-use
	@installers/lab-tools $(LAB_TOOLS)
	@installers/release $(ARGS)

# Material announces the end of MkDocs 1 at each build, which would hide the warnings that matter. With --quiet a warning
# would not fail the build.
site: .venv/.for-site
	@NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build $(ARGS)

reference: .venv/.for-use
	@$(PYTHON_OF_VENV) installers/manual/make_reference.py > docs/configuration.md.new && mv docs/configuration.md{.new,}

translations: .venv/.for-development
	@$(PYTHON_OF_VENV) -m installers.translations.update_catalogues

fresh:
	@for suite in $(SUITE); do installers/fresh/check --suite $$suite $(ARGS) || exit; done

# The package is the same for all suites.
systemd:
	@installers/fresh/check build
	@for suite in $(SUITE); do installers/fresh/check --suite $$suite systemd || exit; done

desktops:
	@tests/other_desktops/check $(ARGS)

fleet-check: .venv/.for-development
	@installers/lab-tools $(LAB_TOOLS)
	@installers/fleet/check
