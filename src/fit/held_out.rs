//! How well constants predict rows that had no say in them: the fit is repeated without each part of the rows in turn.

use super::{Fold, Request, fit};
use crate::report::validation::Statistics;
use crate::scenario::UserError;

/// What fits without a part of the rows say of that part.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldOut {
    /// By table: errors of all rows, each predicted by the fit that it was left out of.
    pub errors: Vec<(&'static str, Statistics)>,
    /// By constant: its smallest and largest value among the fits.
    pub spans: Vec<(&'static str, [f64; 2])>,
}

/// Fits `parts` times, each time without another part of the rows.
///
/// # Errors
/// As [`fit`] has them.
pub fn held_out(request: &Request<'_>, parts: usize, watch: &mut dyn FnMut(u64, f64)) -> Result<HeldOut, UserError> {
    let mut rows: Vec<(&'static str, Vec<f64>)> = Vec::new();
    let mut spans: Vec<(&'static str, [f64; 2])> = Vec::new();
    for part in 0..parts {
        let found = fit(&Request { fold: Some(Fold { part, of: parts }), ..*request }, watch)?;
        for errors in found.errors.into_iter().filter(|errors| errors.left_out) {
            match rows.iter_mut().find(|(set, _)| *set == errors.set) {
                Some((_, all)) => all.extend(errors.rows),
                None => rows.push((errors.set, errors.rows)),
            }
        }
        for constant in &found.constants {
            match spans.iter_mut().find(|(key, _)| *key == constant.key) {
                Some((_, [low, high])) => (*low, *high) = (low.min(constant.after), high.max(constant.after)),
                None => spans.push((constant.key, [constant.after; 2])),
            }
        }
    }
    let errors = rows.into_iter().filter_map(|(set, rows)| Some((set, Statistics::of(rows)?))).collect();
    Ok(HeldOut { errors, spans })
}
