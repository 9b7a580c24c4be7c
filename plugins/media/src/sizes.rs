//! Which thumbnail answers a request: few sizes, so that few are made and kept of each picture.
//!
//! Spec: client-server API, Thumbnails. None is smaller than what was asked for, as far as the picture goes.

use tessera_sdk::services::thumbnails::Wish;

use crate::config::ThumbnailSize;

/// Pixels of a side at most: what `thumbnails` makes.
const MAX_SIDE: u32 = 1600;
/// What sides are rounded up to where no configured size fits.
const STEPS: &[u32] = &[32, 64, 96, 128, 192, 256, 320, 480, 640, 800, 1024, 1280, MAX_SIDE];

/// The thumbnail for a request.
pub(crate) fn choose(
    width: u32,
    height: u32,
    method: &str,
    animated: bool,
    sizes: &[ThumbnailSize],
) -> Wish {
    let (width, height) = (width.clamp(1, MAX_SIDE), height.clamp(1, MAX_SIDE));
    let crop = method == "crop";
    // A cropped one must have the shape that was asked for.
    let shaped = |size: &&ThumbnailSize| {
        !crop
            || u64::from(size.width) * u64::from(height)
                == u64::from(size.height) * u64::from(width)
    };
    let fitting = sizes
        .iter()
        .filter(|size| size.method == method && size.width >= width && size.height >= height)
        .filter(shaped)
        .min_by_key(|size| u64::from(size.width) * u64::from(size.height));
    let (width, height) = match fitting {
        Some(size) => (size.width, size.height),
        None if crop => shape(width, height),
        None => (step(width), step(height)),
    };
    Wish { width, height, method: method.to_owned(), animated }
}

/// All that is made at once when the first is asked for: this one and the configured sizes.
pub(crate) fn together(first: &Wish, sizes: &[ThumbnailSize]) -> Vec<Wish> {
    let mut wishes = vec![first.clone()];
    for size in sizes {
        let wish = Wish {
            width: size.width,
            height: size.height,
            method: size.method.clone(),
            animated: false,
        };
        let known = |other: &Wish| {
            (other.width, other.height, &other.method) == (wish.width, wish.height, &wish.method)
                && !other.animated
        };
        if !wishes.iter().any(known) && wishes.len() < 10 {
            wishes.push(wish);
        }
    }
    wishes
}

fn step(side: u32) -> u32 {
    STEPS.iter().copied().find(|step| *step >= side).unwrap_or(MAX_SIDE)
}

/// The longer side at a step, the other in the same shape.
fn shape(width: u32, height: u32) -> (u32, u32) {
    let longer = width.max(height).max(1);
    let scaled = |side: u32| {
        let scaled = (u64::from(side) * u64::from(step(longer))).div_ceil(u64::from(longer));
        u32::try_from(scaled).unwrap_or(MAX_SIDE).clamp(1, MAX_SIDE)
    };
    (scaled(width), scaled(height))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes() -> Vec<ThumbnailSize> {
        [(32, 32, "crop"), (96, 96, "crop"), (320, 240, "scale"), (640, 480, "scale")]
            .map(|(width, height, method)| ThumbnailSize {
                width,
                height,
                method: method.to_owned(),
            })
            .into()
    }

    fn chosen(width: u32, height: u32, method: &str) -> (u32, u32) {
        let wish = choose(width, height, method, false, &sizes());
        (wish.width, wish.height)
    }

    #[test]
    fn nearest_larger_configured_size_is_taken() {
        assert_eq!(chosen(32, 32, "crop"), (32, 32));
        assert_eq!(chosen(33, 33, "crop"), (96, 96));
        assert_eq!(chosen(100, 240, "scale"), (320, 240));
        assert_eq!(chosen(100, 241, "scale"), (640, 480));
    }

    #[test]
    fn other_sizes_are_rounded_up_in_their_shape() {
        assert_eq!(chosen(100, 100, "crop"), (128, 128));
        assert_eq!(chosen(60, 30, "crop"), (64, 32));
        assert_eq!(chosen(700, 100, "scale"), (800, 128));
        assert_eq!(chosen(5000, 5000, "scale"), (1600, 1600));
        assert_eq!(chosen(1600, 1, "crop"), (1600, 1));
    }

    #[test]
    fn configured_sizes_are_made_with_the_first() {
        let all = together(&choose(32, 32, "crop", false, &sizes()), &sizes());
        assert_eq!(all.len(), 4);
        let all = together(&choose(100, 100, "crop", true, &sizes()), &sizes());
        assert_eq!(all.len(), 5);
    }
}
