"""The look of the local pages in Gradio's words: calm colours, light and dark, and the system's own fonts."""

from typing import Any

FONTS = ["system-ui", "-apple-system", "Segoe UI", "sans-serif"]  # the system's own: nothing is fetched
MONO = ["ui-monospace", "Menlo", "Consolas", "monospace"]
COLOURS = {  # light, dark
    "body_background_fill": ("#fdfdfc", "#14181c"),
    "body_text_color": ("#1d232a", "#e6e8ea"),
    "body_text_color_subdued": ("#5c6670", "#9aa4ae"),
    "block_background_fill": ("transparent", "transparent"),
    "block_label_background_fill": ("transparent", "transparent"),
    "input_background_fill": ("#f5f6f7", "#1c2227"),
    "input_border_color": ("#7d868f", "#6f7983"),
    "input_placeholder_color": ("#5c6670", "#9aa4ae"),
    "button_secondary_background_fill": ("#eceef1", "#262d34"),
    "button_secondary_background_fill_hover": ("#e2e5e9", "#2e353c"),
    "button_secondary_text_color": ("#1d232a", "#e6e8ea"),
    "button_primary_background_fill": ("#2563a8", "#2563a8"),
    "button_primary_background_fill_hover": ("#1d4f87", "#2f74bf"),
    "button_primary_text_color": ("white", "white"),
}


def calm() -> Any:
    """The theme of every page here. Boxes and buttons have an edge that can be seen (contrast of 3)."""
    import gradio as gr

    theme = gr.themes.Base(primary_hue="blue", neutral_hue="slate", font=FONTS, font_mono=MONO)
    colours = {name: light for name, (light, _) in COLOURS.items()} | {
        f"{name}_dark": dark for name, (_, dark) in COLOURS.items()
    }
    theme.name = "calm"  # Gradio writes it into the page, where a blind round must not read "base"
    theme.set(block_border_width="0px", block_shadow="none", block_padding="0px", **colours)
    return theme
