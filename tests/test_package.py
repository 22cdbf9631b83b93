"""What `import tercet` promises: every public name, and no waiting for those that are not asked for."""

import subprocess
import sys

import tercet


def test_every_public_name_is_there() -> None:
    for name in tercet.__all__:
        found = getattr(tercet, name)
        assert getattr(found, "__name__", name) == name


def test_importing_the_package_imports_none_of_its_modules() -> None:
    program = (
        "import sys, tercet; print([name for name in sys.modules if name.startswith('tercet.') or name == 'numpy'])"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert printed == "[]\n"
