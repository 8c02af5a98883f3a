//! A drawing as SVG, legible without installed fonts. It knows shapes and colours, never what they mean.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

pub(super) const MARGIN: i32 = 24;
/// Height of the title.
pub(super) const TITLE: i32 = 44;
pub(super) const INK: RGBColor = RGBColor(33, 37, 41);
pub(super) const FAINT: RGBColor = RGBColor(206, 212, 218);
pub(super) const BLUE: RGBColor = RGBColor(34, 102, 170);
pub(super) const ORANGE: RGBColor = RGBColor(217, 119, 6);
pub(super) const RED: RGBColor = RGBColor(192, 41, 66);
pub(super) const GREEN: RGBColor = RGBColor(46, 125, 80);
pub(super) const VIOLET: RGBColor = RGBColor(111, 76, 155);

/// Light forms of blue and orange, for what is alike but second.
pub(super) const SKY: RGBColor = RGBColor(134, 182, 226);
pub(super) const AMBER: RGBColor = RGBColor(244, 190, 116);
/// From little to much.
pub(super) const HEAT: [RGBColor; 5] = [
    RGBColor(240, 200, 80),
    RGBColor(238, 155, 60),
    RGBColor(224, 100, 50),
    RGBColor(190, 40, 60),
    RGBColor(120, 16, 60),
];

/// Which point of a text is put where it is drawn.
pub(super) use plotters::style::text_anchor::HPos as Side;

/// One drawing: white ground, everything at pixel positions.
pub(super) struct Sheet<'a> {
    area: DrawingArea<SVGBackend<'a>, plotters::coord::Shift>,
}

impl<'a> Sheet<'a> {
    pub(super) fn text(&self, at: (i32, i32), size: i32, color: RGBColor, side: HPos, text: &str) {
        let style = ("sans-serif", size).into_font().color(&color).pos(Pos::new(side, VPos::Center));
        self.draw(&Text::new(text.to_owned(), at, style));
    }

    pub(super) fn bar(&self, from: (i32, i32), to: (i32, i32), color: RGBColor) {
        self.draw(&Rectangle::new([from, to], color.filled()));
    }

    pub(super) fn line(&self, from: (i32, i32), to: (i32, i32), color: RGBColor) {
        self.path(&[from, to], color, 1.0, 1);
    }

    /// A bent line; `opacity` between 0 and 1 lets many of them show how dense they are.
    pub(super) fn path(&self, points: &[(i32, i32)], color: RGBColor, opacity: f64, width: u32) {
        self.draw(&PathElement::new(points.to_vec(), color.mix(opacity).stroke_width(width)));
    }

    pub(super) fn dot(&self, at: (i32, i32), color: RGBColor) {
        self.draw(&Circle::new(at, 5, color.filled()));
    }

    /// A small dot, where there are many.
    pub(super) fn spot(&self, at: (i32, i32), color: RGBColor) {
        self.draw(&Circle::new(at, 3, color.mix(0.7).filled()));
    }

    fn draw<'e, E>(&self, element: &'e E)
    where
        E: plotters::element::Drawable<SVGBackend<'a>>,
        for<'b> &'b E: plotters::element::PointCollection<'b, (i32, i32)>,
    {
        self.area.draw(element).expect("drawing into a string cannot fail");
    }
}

/// A drawing of the given size with a title.
pub(super) fn sheet(width: i32, height: i32, title: &str, draw: impl FnOnce(&Sheet<'_>)) -> String {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (width as u32, height as u32)).into_drawing_area();
        area.fill(&WHITE).expect("drawing into a string cannot fail");
        let sheet = Sheet { area };
        sheet.text((MARGIN, MARGIN), 18, INK, HPos::Left, title);
        draw(&sheet);
        sheet.area.present().expect("drawing into a string cannot fail");
    }
    svg
}
