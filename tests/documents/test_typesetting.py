"""What typst complains about is heard."""

from pathlib import Path

import pytest
import typst

from bot.documents import typesetting
from bot.documents.typesetting import typeset_pdf, typeset_png


class TestTypeset:
    @pytest.fixture(autouse=True)
    def own_templates(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(typesetting, "_TEMPLATES", tmp_path)
        return tmp_path

    def test_passes_warnings_on(self, own_templates: Path):
        (own_templates / "page.typ").write_text('#set text(font: "No Such Font")\n= x')

        with pytest.warns(typst.TypstWarning, match="unknown font family"):
            typeset_png("page.typ", {}, ppi=72)

    def test_raises_when_the_template_is_wrong(self, own_templates: Path):
        (own_templates / "page.typ").write_text("#nonsense")

        with pytest.raises(typst.TypstError, match="unknown variable"):
            typeset_png("page.typ", {}, ppi=72)

    def test_refuses_an_inaccessible_page(self, own_templates: Path):
        (own_templates / "page.typ").write_text("no title")

        with pytest.raises(typst.TypstError, match="PDF/UA-1"):
            typeset_pdf("page.typ", {})

    def test_knows_no_fonts_of_the_machine(self):
        families = typesetting._fonts().families()

        assert families == [
            "DejaVu Sans Mono",
            "Libertinus Serif",
            "New Computer Modern",
            "New Computer Modern Math",
            "Noto Sans SC",
            "Noto Serif SC",
        ]
