# Tried: ruby accepts its syntax. Not tried: brew, or any Mac; the macOS code of trayagent has never run on one.
class Trayagent < Formula
  include Language::Python::Virtualenv

  desc "Brings ssh masters and their forwards back the moment the network changes"
  license "MIT"
  # Set `url` and `sha256` to the source distribution of a release, and `homepage` to the project's page.
  # `brew update-python-resources trayagent` then writes a `resource` block for each dependency in pyproject.toml.

  depends_on "python@3.13"

  def install
    virtualenv_install_with_resources
    man1.install_symlink libexec/"share/man/man1/trayagent.1"
    bash_completion.install_symlink libexec/"share/bash-completion/completions/trayagent"
    zsh_completion.install_symlink libexec/"share/zsh/site-functions/_trayagent"
    fish_completion.install_symlink libexec/"share/fish/vendor_completions.d/trayagent.fish"
  end

  service do
    run [opt_bin/"trayagent", "run"]
    keep_alive successful_exit: false
    process_type :interactive
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/trayagent --version")
  end
end
