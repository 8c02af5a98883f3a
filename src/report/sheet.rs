//! A drawing: shapes at pixel positions, which become an SVG or the pixels of a PNG. It knows shapes and colours, never what they mean.

use plotters::coord::Shift;
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

type At = (i32, i32);

#[derive(Clone)]
enum Shape {
    Text { at: At, size: i32, color: RGBColor, side: HPos, text: String },
    Bar { from: At, to: At, color: RGBColor },
    Path { points: Vec<At>, color: RGBColor, opacity: f64, width: u32 },
    Dot { at: At, radius: i32, color: RGBColor },
    Patch { corners: Vec<At>, color: RGBColor },
}

/// The form of a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Disc,
    Square,
    Triangle,
    Diamond,
    /// A triangle that points down.
    Wedge,
    Cross,
}

/// A finished drawing on white ground.
#[derive(Clone)]
pub struct Picture {
    width: i32,
    height: i32,
    shapes: Vec<Shape>,
}

/// A drawing under construction.
pub(super) struct Sheet {
    shapes: Vec<Shape>,
}

impl Sheet {
    pub(super) fn text(&mut self, at: At, size: i32, color: RGBColor, side: HPos, text: &str) {
        self.shapes.push(Shape::Text { at, size, color, side, text: text.to_owned() });
    }

    pub(super) fn bar(&mut self, from: At, to: At, color: RGBColor) {
        self.shapes.push(Shape::Bar { from, to, color });
    }

    pub(super) fn line(&mut self, from: At, to: At, color: RGBColor) {
        self.path(&[from, to], color, 1.0, 1);
    }

    /// A bent line; `opacity` between 0 and 1 lets many of them show how dense they are.
    pub(super) fn path(&mut self, points: &[At], color: RGBColor, opacity: f64, width: u32) {
        self.shapes.push(Shape::Path { points: points.to_vec(), color, opacity, width });
    }

    pub(super) fn dot(&mut self, at: At, color: RGBColor) {
        self.disc(at, 5, color);
    }

    /// A dot of the given radius.
    fn disc(&mut self, at: At, radius: i32, color: RGBColor) {
        self.shapes.push(Shape::Dot { at, radius, color });
    }

    /// A mark about as large as a dot of the given radius.
    pub(super) fn mark(&mut self, (x, y): At, mark: Mark, radius: i32, color: RGBColor) {
        // A corner reaches farther than the rim of a dot of the same area.
        let (flat, far) = (radius - radius / 6, radius + (radius + 3) / 4);
        let corners = match mark {
            Mark::Disc => return self.disc((x, y), radius, color),
            Mark::Cross => {
                let width = (radius as u32).div_ceil(2);
                self.path(&[(x - flat, y - flat), (x + flat, y + flat)], color, 1.0, width);
                return self.path(&[(x - flat, y + flat), (x + flat, y - flat)], color, 1.0, width);
            }
            Mark::Square => {
                vec![(x - flat, y - flat), (x + flat, y - flat), (x + flat, y + flat), (x - flat, y + flat)]
            }
            Mark::Triangle => vec![(x, y - far), (x + far, y + flat), (x - far, y + flat)],
            Mark::Diamond => vec![(x, y - far), (x + far, y), (x, y + far), (x - far, y)],
            Mark::Wedge => vec![(x, y + far), (x + far, y - flat), (x - far, y - flat)],
        };
        self.shapes.push(Shape::Patch { corners, color });
    }
}

/// A drawing of the given size with a title.
pub(super) fn sheet(width: i32, height: i32, title: &str, draw: impl FnOnce(&mut Sheet)) -> Picture {
    let mut sheet = Sheet { shapes: Vec::new() };
    sheet.text((MARGIN, MARGIN), 18, INK, HPos::Left, title);
    draw(&mut sheet);
    Picture { width, height, shapes: sheet.shapes }
}

impl Picture {
    /// As SVG, legible whatever fonts there are.
    pub fn svg(&self) -> String {
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, self.size(1)).into_drawing_area();
            self.render(&area, 1);
        }
        svg
    }

    /// Width and height in pixels, `scale` times enlarged.
    pub(super) fn size(&self, scale: i32) -> (u32, u32) {
        ((self.width * scale) as u32, (self.height * scale) as u32)
    }

    /// Puts all shapes on `area`, `scale` times enlarged.
    pub(super) fn render<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, scale: i32) {
        const MEMORY: &str = "drawing into memory cannot fail";
        area.fill(&WHITE).expect(MEMORY);
        let large = |(x, y): At| (x * scale, y * scale);
        for shape in &self.shapes {
            let drawn = match shape {
                Shape::Text { at, size, color, side, text } => {
                    let style = ("sans-serif", size * scale).into_font().color(color);
                    let style = style.pos(Pos::new(*side, VPos::Center));
                    area.draw(&Text::new(text.clone(), large(*at), style))
                }
                Shape::Bar { from, to, color } => {
                    area.draw(&Rectangle::new([large(*from), large(*to)], color.filled()))
                }
                Shape::Path { points, color, opacity, width } => {
                    let points: Vec<At> = points.iter().copied().map(large).collect();
                    area.draw(&PathElement::new(points, color.mix(*opacity).stroke_width(width * scale as u32)))
                }
                Shape::Dot { at, radius, color } => area.draw(&Circle::new(large(*at), radius * scale, color.filled())),
                Shape::Patch { corners, color } => {
                    let corners: Vec<At> = corners.iter().copied().map(large).collect();
                    area.draw(&Polygon::new(corners, color.filled()))
                }
            };
            drawn.expect(MEMORY);
        }
        area.present().expect(MEMORY);
    }
}
