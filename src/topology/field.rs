//! Finite fields of small order, for graphs that are defined over them.

/// The field of `q` elements. An element is a number below `q` whose digits in base `p` are the coefficients of a
/// polynomial over the prime field.
pub(super) struct Field {
    p: u32,
    q: u32,
    /// The powers 0 to `q - 2` of a primitive element.
    powers: Vec<u32>,
    /// The power that each element but 0 is.
    logs: Vec<u32>,
}

/// The prime and the exponent that make up `q`, where it is a prime power.
pub(super) fn prime_power(q: u32) -> Option<(u32, u32)> {
    let p = (2..=q).take_while(|p| p * p <= q).find(|p| q.is_multiple_of(*p)).unwrap_or(q);
    let (mut rest, mut exponent) = (q, 0);
    while p > 1 && rest.is_multiple_of(p) {
        rest /= p;
        exponent += 1;
    }
    (rest == 1 && exponent > 0).then_some((p, exponent))
}

impl Field {
    /// The field of `q` elements, where `q` is a prime power.
    pub fn new(q: u32) -> Option<Field> {
        let (p, _) = prime_power(q)?;
        // The element x is primitive under x^m = c(x) for some polynomial c of a degree below m, where q = p^m.
        let powers =
            (1..q).find_map(|c| powers_of_x(p, q, q / p, c)).expect("every finite field has a primitive element");
        let mut logs = vec![0; q as usize];
        for (power, &element) in (0..).zip(&powers) {
            logs[element as usize] = power;
        }
        Some(Field { p, q, powers, logs })
    }

    /// The number of elements.
    pub fn order(&self) -> u32 {
        self.q
    }

    /// The sum of two elements.
    pub fn add(&self, a: u32, b: u32) -> u32 {
        add_digits(self.p, a, b)
    }

    /// The product of two elements.
    pub fn mul(&self, a: u32, b: u32) -> u32 {
        if a == 0 || b == 0 { 0 } else { self.power(self.logs[a as usize] + self.logs[b as usize]) }
    }

    /// A power of the primitive element.
    pub fn power(&self, exponent: u32) -> u32 {
        self.powers[(exponent % (self.q - 1)) as usize]
    }
}

/// The powers of x under `x^m = c(x)`, if they run through all elements but 0; `top` is `p^(m-1)`.
fn powers_of_x(p: u32, q: u32, top: u32, c: u32) -> Option<Vec<u32>> {
    let mut powers = vec![1];
    loop {
        let last = *powers.last().expect("starts with one");
        let mut next = last % top * p;
        (0..last / top).for_each(|_| next = add_digits(p, next, c));
        if next == 1 || next == 0 || powers.len() == q as usize {
            return (next == 1 && powers.len() == q as usize - 1).then_some(powers);
        }
        powers.push(next);
    }
}

/// The sum of two polynomials over the prime field.
fn add_digits(p: u32, a: u32, b: u32) -> u32 {
    if a == 0 {
        b
    } else if b == 0 {
        a
    } else {
        (a % p + b % p) % p + p * add_digits(p, a / p, b / p)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_obey_their_laws() {
        for q in [2, 3, 4, 5, 8, 9, 16, 25, 27, 29] {
            let field = Field::new(q).expect("a prime power");
            for a in 0..q {
                assert_eq!((0..q).filter(|&b| field.add(a, b) == 0).count(), 1, "negative of {a} in GF({q})");
                assert_eq!(field.mul(a, 1), a);
                for b in 1..q {
                    let c = (a + b) % q;
                    assert_eq!(field.mul(b, field.add(a, c)), field.add(field.mul(b, a), field.mul(b, c)), "GF({q})");
                }
            }
        }
    }

    #[test]
    fn prime_powers_are_told_from_other_numbers() {
        assert_eq!(prime_power(27), Some((3, 3)));
        assert_eq!(prime_power(29), Some((29, 1)));
        assert!([0, 1, 6, 12, 28, 30, 36].iter().all(|&q| prime_power(q).is_none()));
    }
}
