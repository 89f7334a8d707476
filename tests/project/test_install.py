"""ops/install.py: pip's configuration reaches uv, and pip installs where uv can't."""

import subprocess
import sys
from pathlib import Path

import pytest

from ops import install

HASH = "--hash=sha256:"


def test_settings_of_pip_become_those_of_uv():
    listing = "\n".join(
        [
            ":env:.default-timeout='180'",
            ":env:.find-links='/a /b'",
            ":env:.no-index='1'",
            "download.platform='x'",  # Not for installing.
            "global.extra-index-url='https://one.example/simple\\nhttps://two.example/simple'",
            "global.find-links='/never'",
            "global.index-url='https://never.example/simple'",
            "global.no-cache-dir='false'",
            "global.quiet='1'",
            "install.index-url='https://index.example/simple'",
        ]
    )
    assert install.uv_settings(listing) == {
        "UV_HTTP_TIMEOUT": "180",
        "UV_FIND_LINKS": "/a,/b",
        "UV_NO_INDEX": "1",
        "UV_INDEX": "https://one.example/simple https://two.example/simple",
        "UV_DEFAULT_INDEX": "https://index.example/simple",
    }
    assert install.uv_settings("") == {}


@pytest.mark.parametrize("setting", ["global.client-cert='c.pem'", ":env:.constraint='c.txt'", "install.user='1'"])
def test_a_setting_that_uv_lacks_needs_pip(setting):
    assert install.uv_settings(f"global.quiet='1'\n{setting}") is None


@pytest.fixture
def wheel(tmp_path) -> Path:
    """A folder with a wheel of an empty package, which any installer accepts."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "empty-example"\nversion = "1"\n[tool.hatch.build.targets.wheel]\nonly-include = ["e.py"]\n'
    )
    (folder / "e.py").write_text("")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path / "wheels")]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(folder)], check=True)
    (found,) = (tmp_path / "wheels").glob("*.whl")
    return found


@pytest.mark.slow
def test_pip_installs_if_uv_fails_and_hashes_are_checked(wheel, tmp_path, monkeypatch, capfd):
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    uv = tmp_path / "uv"
    uv.write_text('#!/bin/sh\necho "$UV_FIND_LINKS: $*" > "$0.asked"\nexit 3\n')
    uv.chmod(0o755)
    monkeypatch.setattr(install, "UV", uv)
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    requirements = tmp_path / "requirements.txt"
    for digest, status in (("0" * 64, 1), (digest_of(wheel), 0)):
        requirements.write_text(f"empty-example==1 {HASH}{digest}\n")
        with pytest.raises(SystemExit) as end:
            install.main(str(python), "--require-hashes", "-r", str(requirements))
        assert end.value.code == status
        asked = (tmp_path / "uv.asked").read_text()
        assert asked.startswith(f"{wheel.parent}: pip install")
        assert asked.strip().endswith(f"--require-hashes -r {requirements}")
        assert "pip tries again" in capfd.readouterr().err
    subprocess.run([str(python), "-c", "import e"], check=True)


def digest_of(path: Path) -> str:
    hashed = subprocess.run(["sha256sum", str(path)], capture_output=True, text=True, check=True).stdout
    return hashed.split()[0]
