"""The stamp reaches every figure and nothing else."""

from hdt_fm.explain.page.stamp import stamped


def test_a_figure_is_stamped_in_its_middle_and_its_title() -> None:
    page = '<p>a</p><svg viewBox="10 20 200 100" role="img"><title>T</title><path d=""/></svg><p>b</p>'
    text = stamped(page, "NO")
    assert text.startswith('<p>a</p><svg viewBox="10 20 200 100" role="img"><title>No: T</title>')
    assert text.endswith('aria-hidden="true">NO</text></svg><p>b</p>')
    assert 'x="110" y="77"' in text  # the middle of the box, and a third of the letters' height below


def test_words_fit_into_a_small_figure() -> None:
    text = stamped('<svg viewBox="0 0 100 60" role="img"><title>T</title></svg>', "NOT RELIABLE HERE")
    assert 'font-size="5"' in text


def test_hidden_bars_and_text_are_left_alone() -> None:
    page = '<svg viewBox="0 0 9 9" aria-hidden="true"><g/></svg><title>T</title>'
    assert stamped(page, "NO") == page


def test_a_nested_drawing_is_stamped_once() -> None:
    page = '<svg viewBox="0 0 90 90" role="img"><title>T</title><svg role="img"><title>U</title></svg></svg>'
    assert stamped(page, "NO").count(">NO</text>") == 1
    assert stamped(page * 2, "NO").count(">NO</text>") == 2
