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
