# make demo    the whole thing in a sandbox: two networks, a real sshd, a change of network
# make test    every test
# make bench   how fast, measured beside the alternatives
# make lint    style and types
# make coverage  how much of the core, configuration, IPC and history the tests reach, with a floor
# make deb     the package for Debian 12, in dist/
# make fleet-check  the Ansible role: ansible-lint, and a run against a real sshd
# make reference  docs/configuration.md anew, from the model
# make fresh   demo, package (also under systemd) and tests in a Debian 12 made for it (as root, with debootstrap)
#
# Each target creates .venv. You need git, make, and Python 3.11 or newer with venv.

SHELL := /bin/bash
PYTHON_OF_VENV := .venv/bin/python

# What the laboratory cannot do without, and what its tests use besides.
LAB_TOOLS := ssh ssh-keygen sshd ip nft unshare nsenter
TEST_TOOLS := $(LAB_TOOLS) ssh-agent ssh-add ss ps tmux screen dbus-daemon openssl autossh NetworkManager nmcli nm-openvpn-service openvpn
# The login shells that a far side may have, and those whose completion is tried.
TEST_TOOLS += dash zsh fish tcsh
# A desktop for the tests of tray and notifications.
TEST_TOOLS += Xvfb xfce4-panel xfconfd dunst xfce4-notifyd gio
# ProxyCommands of several kinds.
TEST_TOOLS += socat ncat corkscrew
# What a Mac is asked by, tried here.
TEST_TOOLS += lsof
# For manual page, scripts and package.
TEST_TOOLS += groff shellcheck strip

# Tests at once: most of them wait for a network, a panel or an sshd, not for a processor.
AT_ONCE := 3

# Coverage in percent below which a room fails, one below what was measured.
FLOORS := core:96 config:97 ipc:93 history:98

# Tools that were only unpacked, see installers/lab-tools.
export PATH := $(CURDIR)/.tools/bin:$(PATH)

.PHONY: help demo test bench lint coverage deb reference fresh fleet-check

help:
	@sed -n 's/^# make /make /p' Makefile

# The stamps: the project is installed again when its dependencies may have changed.
.venv/.for-use: pyproject.toml installers/make-venv
	@installers/make-venv
	@touch $@

.venv/.for-development: pyproject.toml installers/make-venv
	@installers/make-venv dev
	@touch $@ .venv/.for-use

demo: .venv/.for-use
	@installers/lab-tools $(LAB_TOOLS)
	@$(PYTHON_OF_VENV) -m trayagent demo $(ARGS)

bench: .venv/.for-use
	@installers/lab-tools $(LAB_TOOLS)
	@$(PYTHON_OF_VENV) -m bench $(ARGS)

# Without a tool its tests are skipped on a desktop; with CI set that is a failure.
test: .venv/.for-development
	@installers/lab-tools $(TEST_TOOLS) || test -z "$$CI"
	@$(PYTHON_OF_VENV) -m pytest -n $(AT_ONCE) --dist worksteal $(ARGS)

lint: .venv/.for-development
	@$(PYTHON_OF_VENV) -m ruff check .
	@$(PYTHON_OF_VENV) -m ruff format --check .
	@$(PYTHON_OF_VENV) -m mypy
	@$(PYTHON_OF_VENV) -m mypy --platform darwin --cache-dir .mypy_cache/darwin

# Without the simulation and the laboratory: what the tests of these rooms themselves reach.
coverage: .venv/.for-development
	@$(PYTHON_OF_VENV) -m coverage run -m pytest --quiet tests/core tests/stories tests/config tests/ipc tests/history
	@$(PYTHON_OF_VENV) -m coverage report
	@for floor in $(FLOORS); do \
	    $(PYTHON_OF_VENV) -m coverage report --format=total --include="trayagent/$${floor%:*}/*" \
	        --fail-under=$${floor#*:} >/dev/null || { echo "coverage of $${floor%:*} is below $${floor#*:} %" >&2; exit 1; }; \
	done

deb: .venv/.for-use
	@installers/linux/build-deb.sh

reference: .venv/.for-use
	@$(PYTHON_OF_VENV) installers/manual/make_reference.py > docs/configuration.md.new && mv docs/configuration.md{.new,}

fresh:
	@installers/fresh/check $(ARGS)

fleet-check: .venv/.for-development
	@installers/lab-tools $(LAB_TOOLS)
	@installers/fleet/check
