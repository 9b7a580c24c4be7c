//! How large a thumbnail comes out, and of which part of the picture.

/// Width and height in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl Size {
    pub(crate) const fn new(width: u32, height: u32) -> Self {
        Self { width, height }
    }

    /// Sides exchanged: as it is after a quarter turn.
    pub(crate) const fn turned(self) -> Self {
        Self { width: self.height, height: self.width }
    }
}

/// A stretch of the picture, and what it is scaled to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) left: u32,
    pub(crate) top: u32,
    pub(crate) part: Size,
    pub(crate) out: Size,
}

impl Plan {
    /// Whether the picture stays as it is.
    pub(crate) fn is_whole(&self, picture: Size) -> bool {
        self.part == picture && self.out == picture
    }
}

impl Plan {
    /// The same of a picture that was made smaller.
    pub(crate) fn within(self, from: Size, to: Size) -> Self {
        let wide = |side: u32| share(side, to.width, from.width);
        let high = |side: u32| share(side, to.height, from.height);
        let part = Size::new(
            wide(self.part.width).clamp(self.out.width.min(to.width), to.width),
            high(self.part.height).clamp(self.out.height.min(to.height), to.height),
        );
        let at = |at: u32, from: u32, to: u32| {
            u32::try_from(product(at, to) / u64::from(from.max(1))).unwrap_or(u32::MAX)
        };
        Self {
            left: at(self.left, from.width, to.width).min(to.width - part.width),
            top: at(self.top, from.height, to.height).min(to.height - part.height),
            part,
            out: self.out,
        }
    }
}

/// What a picture can be made smaller to, in its shape, before anything is made of it: still twice as large as any of these wants. None
/// where that gains little.
pub(crate) fn base(picture: Size, plans: &[Plan]) -> Option<Size> {
    if plans.len() < 2 {
        return None;
    }
    // In parts of 65,536, rounded up.
    let scale = |out: u32, part: u32| (u64::from(out) << 17).div_ceil(u64::from(part.max(1)));
    let scales = plans.iter().map(|plan| {
        scale(plan.out.width, plan.part.width).max(scale(plan.out.height, plan.part.height))
    });
    let scale = scales.max()?;
    // Rounded down: the scale was rounded up already, and twice as large is a whole number.
    let side = |side: u32| u32::try_from((u64::from(side) * scale) >> 16).ok();
    let base = Size::new(side(picture.width)?.max(1), side(picture.height)?.max(1));
    let area = |size: Size| product(size.width, size.height);
    (area(base).saturating_mul(2) <= area(picture)).then_some(base)
}

/// What is to be done so that a picture answers a wish. It is never made larger.
pub(crate) fn plan(picture: Size, wish: Size, crop: bool) -> Plan {
    if crop { fill(picture, wish) } else { fit(picture, wish) }
}

/// The whole of it, fitted into the wish.
fn fit(picture: Size, wish: Size) -> Plan {
    let whole = |out| Plan { left: 0, top: 0, part: picture, out };
    if picture.width <= wish.width && picture.height <= wish.height {
        return whole(picture);
    }
    // Which side is the tighter one: compared as products, so that nothing is rounded.
    let wide = product(picture.width, wish.height) >= product(picture.height, wish.width);
    whole(if wide {
        Size::new(wish.width, share(picture.height, wish.width, picture.width))
    } else {
        Size::new(share(picture.width, wish.height, picture.height), wish.height)
    })
}

/// The largest stretch from the middle that has the wish's shape.
fn fill(picture: Size, wish: Size) -> Plan {
    let wide = product(picture.width, wish.height) >= product(picture.height, wish.width);
    let part = if wide {
        Size::new(share(wish.width, picture.height, wish.height).min(picture.width), picture.height)
    } else {
        Size::new(picture.width, share(wish.height, picture.width, wish.width).min(picture.height))
    };
    let larger = part.width >= wish.width && part.height >= wish.height;
    Plan {
        left: (picture.width - part.width) / 2,
        top: (picture.height - part.height) / 2,
        part,
        out: if larger { wish } else { part },
    }
}

fn product(a: u32, b: u32) -> u64 {
    u64::from(a) * u64::from(b)
}

/// `side * to / from`, rounded, at least 1.
fn share(side: u32, to: u32, from: u32) -> u32 {
    let from = u64::from(from.max(1));
    let share = (product(side, to) + from / 2) / from;
    u32::try_from(share).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(picture: (u32, u32), wish: (u32, u32), crop: bool) -> (u32, u32) {
        let plan = plan(Size::new(picture.0, picture.1), Size::new(wish.0, wish.1), crop);
        assert!(
            plan.left + plan.part.width <= picture.0 && plan.top + plan.part.height <= picture.1
        );
        (plan.out.width, plan.out.height)
    }

    #[test]
    fn scaled_picture_keeps_its_shape_and_fits() {
        assert_eq!(out((1000, 500), (320, 240), false), (320, 160));
        assert_eq!(out((500, 1000), (320, 240), false), (120, 240));
        assert_eq!(out((10_000, 1), (320, 240), false), (320, 1));
    }

    #[test]
    fn cropped_picture_has_the_shape_of_the_wish() {
        assert_eq!(out((1000, 500), (96, 96), true), (96, 96));
        assert_eq!(out((500, 1000), (32, 64), true), (32, 64));
    }

    #[test]
    fn picture_is_made_smaller_first_as_far_as_all_sizes_allow() {
        let picture = Size::new(4000, 3000);
        let wishes = [(800, 600, false), (96, 96, true), (32, 64, true)];
        let planned = |picture: Size| {
            wishes.map(|(width, height, crop)| plan(picture, Size::new(width, height), crop))
        };
        let plans = planned(picture);
        let base = base(picture, &plans).unwrap();
        assert_eq!(base, Size::new(1600, 1200));
        for one in &plans {
            let within = one.within(picture, base);
            assert_eq!(within.out, one.out);
            assert!(within.left + within.part.width <= base.width, "{within:?}");
            assert!(within.top + within.part.height <= base.height, "{within:?}");
            assert!(within.part.width >= one.out.width && within.part.height >= one.out.height);
        }
        assert_eq!(plans[1].within(picture, base).part, Size::new(1200, 1200));
        assert_eq!(super::base(picture, &plans[..1]), None, "one size is one way through");
        let small = Size::new(1000, 700);
        assert_eq!(super::base(small, &planned(small)), None, "little to gain");
        assert!(super::base(Size::new(40_000_000, 1), &plans).is_none_or(|base| base.height == 1));
    }

    #[test]
    fn picture_is_never_made_larger() {
        assert_eq!(out((20, 10), (320, 240), false), (20, 10));
        assert_eq!(out((20, 10), (96, 96), true), (10, 10));
        assert_eq!(out((200, 50), (96, 96), true), (50, 50));
        assert_eq!(out((1, 1), (1600, 1600), true), (1, 1));
    }

    #[test]
    fn stretch_is_taken_from_the_middle() {
        let plan = plan(Size::new(100, 50), Size::new(10, 10), true);
        assert_eq!((plan.left, plan.top, plan.part), (25, 0, Size::new(50, 50)));
    }
}
