//! What a reproduction found, as pictures.

use super::figures::{AssumptionRow, FigureRow, Status};
use super::sheet::{BLUE, FAINT, INK, MARGIN, ORANGE, Picture, RED, Side, TITLE, sheet};

const ROW: i32 = 24;

/// How far each figure is from its printed value.
pub fn deviations(figures: &[FigureRow]) -> Picture {
    let (left, width) = (430, 1000);
    let height = TITLE + ROW * (figures.len() as i32 + 2) + MARGIN;
    // Deviations beyond the scale sit on its edge and carry their number.
    let scale = 0.05;
    let middle = (left + width - MARGIN) / 2;
    let half = (width - MARGIN - left) / 2 - 60;
    sheet(width, height, "Simulated against printed: deviation of each figure", |sheet| {
        let bottom = TITLE + ROW * figures.len() as i32 + ROW;
        for percent in [-5, 0, 5] {
            let x = middle + percent * half / 5;
            sheet.line((x, TITLE), (x, bottom), FAINT);
            sheet.text((x, bottom + 12), 13, INK, Side::Center, &format!("{percent:+}%"));
        }
        for (row, figure) in (0..).zip(figures) {
            let y = TITLE + ROW * row + ROW;
            let color = match (figure.holds(), figure.status) {
                (false, _) => RED,
                (true, Status::Arithmetic | Status::Predicted) => BLUE,
                (true, Status::Calibrated) => ORANGE,
                (true, Status::Open) => INK,
            };
            sheet.text((left - 12, y), 13, INK, Side::Right, &figure.id);
            let x = middle + (figure.deviation.clamp(-scale, scale) / scale * f64::from(half)) as i32;
            sheet.dot((x, y), color);
            let side = if figure.deviation > 0.7 * scale { (x - 10, Side::Right) } else { (x + 10, Side::Left) };
            let label = format!("{:+.2}% {}", 100.0 * figure.deviation + 0.0, figure.status.name());
            sheet.text((side.0, y), 12, color, side.1, &label);
        }
    })
}

/// Time per output token with and without each assumption.
pub fn assumptions(rows: &[AssumptionRow]) -> Picture {
    let (left, width) = (520, 1100);
    let groups: Vec<&str> = groups(rows);
    let lines = rows.len() as i32 + 2 * groups.len() as i32;
    sheet(
        width,
        TITLE + ROW * lines + MARGIN,
        "What each assumption of section 2.3.2 is worth: time per output token",
        |sheet| {
            let mut y = TITLE;
            for group in groups {
                let members: Vec<&AssumptionRow> = rows.iter().filter(|row| row.group == group).collect();
                let longest = members.iter().map(|row| row.tpot_ms).fold(0.0, f64::max);
                y += ROW;
                sheet.text((MARGIN, y), 15, INK, Side::Left, group);
                for row in members {
                    y += ROW;
                    let length = (row.tpot_ms / longest * f64::from(width - left - 150)) as i32;
                    sheet.text((left - 12, y), 13, INK, Side::Right, &row.without);
                    let color = if row.against_ideal == 1.0 { ORANGE } else { BLUE };
                    sheet.bar((left, y - 8), (left + length.max(1), y + 8), color);
                    let label = format!("{:.3} ms   x {:.2}", row.tpot_ms, row.against_ideal);
                    sheet.text((left + length + 8, y), 12, INK, Side::Left, &label);
                }
                y += ROW;
            }
        },
    )
}

fn groups(rows: &[AssumptionRow]) -> Vec<&str> {
    let mut groups: Vec<&str> = rows.iter().map(|row| row.group.as_str()).collect();
    groups.dedup();
    groups
}
