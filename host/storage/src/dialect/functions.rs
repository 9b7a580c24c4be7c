//! The functions of the dialect.

/// How a function may be called.
pub(super) struct Function {
    /// Fewest arguments.
    pub(super) least: usize,
    /// Most arguments.
    pub(super) most: usize,
    /// Takes DISTINCT, FILTER and OVER.
    pub(super) aggregate: bool,
    /// Needs OVER.
    pub(super) window: bool,
}

const fn scalar(least: usize, most: usize) -> Function {
    Function { least, most, aggregate: false, window: false }
}

const AGGREGATE: Function = Function { least: 1, most: 1, aggregate: true, window: false };

const fn window(least: usize, most: usize) -> Function {
    Function { least, most, aggregate: false, window: true }
}

/// The function of that name, lower case.
pub(super) fn function(name: &str) -> Option<Function> {
    Some(match name {
        "count" | "sum" | "min" | "max" | "avg" => AGGREGATE,
        "coalesce" => scalar(2, 64),
        "nullif" => scalar(2, 2),
        "lower" | "upper" | "length" | "abs" => scalar(1, 1),
        "substr" => scalar(2, 3),
        "replace" => scalar(3, 3),
        "round" => scalar(1, 1),
        "row_number" | "rank" | "dense_rank" => window(0, 0),
        "lag" | "lead" => window(1, 3),
        "first_value" | "last_value" => window(1, 1),
        _ => return None,
    })
}

/// Whether the engine may call a function of that name for a plug-in.
pub(crate) fn function_allowed(name: &str) -> bool {
    function(&name.to_ascii_lowercase()).is_some()
}
