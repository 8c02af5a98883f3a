//! A picture as PNG, with a font of its own, so that no font need be installed. The only module that knows `png`.

use super::sheet::Picture;
use plotters::prelude::{BitMapBackend, IntoDrawingArea};
use plotters::style::{FontStyle, register_font};

/// Outlines of the characters that pictures have; `font/README.md` says where they come from.
const FONT: &[u8] = include_bytes!("font/sans.ttf");
/// Pixels of the PNG for one of the picture, so that it is sharp on fine screens and on paper.
const SCALE: i32 = 2;

impl Picture {
    /// As PNG.
    pub fn png(&self) -> Vec<u8> {
        assert!(register_font("sans-serif", FontStyle::Normal, FONT).is_ok(), "the built-in font is a font");
        let (width, height) = self.size(SCALE);
        let mut pixels = vec![0; 3 * width as usize * height as usize];
        self.render(&BitMapBackend::with_buffer(&mut pixels, (width, height)).into_drawing_area(), SCALE);
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::High);
        let mut writer = encoder.write_header().expect("writing to memory");
        writer.write_image_data(&pixels).expect("as many pixels as the header says");
        writer.finish().expect("writing to memory");
        bytes
    }
}

#[cfg(test)]
mod tests {
    use crate::report::sheet::{INK, Side, sheet};

    /// The pixels of a picture of this text, as the PNG holds them.
    fn pixels(text: &str) -> Vec<u8> {
        let picture = sheet(200, 60, "", |sheet| sheet.text((10, 30), 20, INK, Side::Left, text));
        let bytes = picture.png();
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes.as_slice())).read_info().expect("a PNG");
        let mut pixels = vec![0; reader.output_buffer_size().expect("small")];
        let info = reader.next_frame(&mut pixels).expect("pixels");
        assert_eq!((info.width, info.height), (400, 120));
        pixels
    }

    #[test]
    fn every_character_of_reports_has_an_outline() {
        let blank = pixels("");
        assert!(blank.iter().all(|value| *value == 255), "white ground");
        // What a font shows for a character that it does not have.
        let missing = pixels("\u{4e00}");
        for character in ('!'..='~').chain(['×', 'µ', '±', '·', '–', '…', '−', '≤', '≥', '°']) {
            let shown = pixels(&character.to_string());
            assert!(shown != blank && shown != missing, "{character} is not in the font");
        }
    }
}
