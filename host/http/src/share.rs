//! Places that tenants share so that none can take them all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Says whether there can only be one tenant. Asked each time, since another may come.
pub(crate) type Lone = Arc<dyn Fn() -> bool + Send + Sync>;

/// A number of places, such as `[http] max-parked`.
///
/// A tenant gets another one while it holds fewer than are free: alone it comes to half of all, two come to a third
/// each, and so on, and there is always room for one that holds none yet. (Dynamic thresholds, as switches use for
/// their buffers.) Where there can only be one tenant, it may have all.
pub(crate) struct Pool {
    total: usize,
    used: AtomicUsize,
    lone: Lone,
}

/// What one tenant holds of a pool.
pub(crate) type Part = Arc<AtomicUsize>;

impl Pool {
    pub(crate) fn new(total: usize, lone: Lone) -> Arc<Self> {
        Arc::new(Self { total, used: AtomicUsize::new(0), lone })
    }

    /// Takes a place until what it gives is dropped.
    pub(crate) fn take(self: &Arc<Self>, part: &Part) -> Option<Place> {
        self.enter(part).then(|| Place { pool: Arc::clone(self), part: Arc::clone(part) })
    }

    /// Takes a place until [`Pool::leave`].
    pub(crate) fn enter(&self, part: &AtomicUsize) -> bool {
        let another = |used| (used < self.total).then_some(used + 1);
        let Ok(used) = self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, another) else {
            return false;
        };
        let mine = part.fetch_add(1, Ordering::AcqRel);
        if mine < self.total - used || (self.lone)() {
            return true;
        }
        self.leave(part, 1);
        false
    }

    /// Gives places back.
    pub(crate) fn leave(&self, part: &AtomicUsize, places: usize) {
        part.fetch_sub(places, Ordering::AcqRel);
        self.used.fetch_sub(places, Ordering::AcqRel);
    }
}

/// A place of a pool.
pub(crate) struct Place {
    pool: Arc<Pool>,
    part: Part,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pool.leave(&self.part, 1);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::{Lone, Part, Place, Pool};

    fn fill(pool: &Arc<Pool>, part: &Part) -> Vec<Place> {
        std::iter::from_fn(|| pool.take(part)).collect()
    }

    #[test]
    fn no_tenant_takes_all_and_each_new_one_finds_room() {
        let pool = Pool::new(120, Arc::new(|| false));
        let (a, b, c) = (Part::default(), Part::default(), Part::default());
        let of_a = fill(&pool, &a);
        assert_eq!(of_a.len(), 60);
        let of_b = fill(&pool, &b);
        assert_eq!(of_b.len(), 30);
        assert_eq!(fill(&pool, &c).len(), 15);
        drop(of_a);
        drop(of_b);
        assert_eq!(fill(&pool, &c).len(), 60, "what others give back is there again");
    }

    #[test]
    fn a_lone_tenant_takes_all_until_another_comes() {
        let alone = Arc::new(AtomicBool::new(true));
        let asked = Arc::clone(&alone);
        let lone: Lone = Arc::new(move || asked.load(Ordering::Relaxed));
        let pool = Pool::new(6, lone);
        let (first, second) = (Part::default(), Part::default());
        let mut of_first = fill(&pool, &first);
        assert_eq!(of_first.len(), 6);
        alone.store(false, Ordering::Relaxed);
        // What it has it keeps; of what it gives back it leaves something to the other.
        of_first.truncate(3);
        assert!(pool.take(&first).is_none());
        assert!(pool.take(&second).is_some());
    }

    #[test]
    fn a_single_place_can_be_taken() {
        let pool = Pool::new(1, Arc::new(|| false));
        let part = Part::default();
        let place = pool.take(&part);
        assert!(place.is_some() && pool.take(&part).is_none());
        drop(place);
        assert!(pool.take(&part).is_some());
    }
}
