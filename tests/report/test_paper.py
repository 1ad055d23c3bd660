import pytest

from collapselab.core.errors import InputError
from collapselab.report import nc_figure
from report.fakes import write_run


@pytest.mark.parametrize(("suffix", "begins"), [(".svg", b"<?xml"), (".pdf", b"%PDF"), (".png", b"\x89PNG")])
def test_a_figure_of_each_kind(tmp_path, suffix, begins):
    path = nc_figure(write_run(tmp_path / "run"), tmp_path / "new" / f"nc{suffix}")
    assert path.read_bytes().startswith(begins)


def test_panels_of_the_four_faces(tmp_path):
    text = nc_figure(write_run(tmp_path / "run"), tmp_path / "nc.svg").read_text()
    assert all(f"<!-- {face}" in text for face in ("NC1", "NC2", "NC3", "NC4"))


def test_what_cannot_be_drawn_is_refused(tmp_path):
    run = write_run(tmp_path / "run", epochs=())
    with pytest.raises(InputError, match=r"must end in one of \.svg, \.pdf, \.png"):
        nc_figure(run, tmp_path / "nc.jpg")
    with pytest.raises(InputError, match="nothing to draw"):
        nc_figure(run, tmp_path / "nc.svg")
