//! What must not change a single bit: company, threads, where in a matrix the values lie.

use super::*;

/// The bits of what a run gave, in one list for each span and matrix.
fn results<S: Element>(run: &Run<S>, shape: &AttentionShape) -> Vec<Vec<u32>> {
    let (width, kv_width) = (shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim);
    let bits = |values: &[S]| values.iter().map(|value| value.widen().to_bits()).collect::<Vec<_>>();
    let of = |span: &Span| {
        let rows = |width: usize| span.query * width..(span.query + span.length) * width;
        let lse = run.lse[rows(shape.heads)].iter().map(|value| value.to_bits()).collect();
        let of_queries = [&run.out, &run.dq].map(|values| bits(&values[rows(width)]));
        let of_keys = [&run.dk, &run.dv].map(|values| bits(&values[rows(kv_width)]));
        [lse].into_iter().chain(of_queries).chain(of_keys).collect::<Vec<Vec<u32>>>()
    };
    shape.spans.iter().flat_map(of).collect()
}

fn both<T: Attend, S: Element>(kernel: (T, Instructions), run: &mut Run<S>, shape: &AttentionShape, limits: Limits) {
    run.forward(kernel, shape, limits);
    run.backward(kernel, shape, limits);
}

struct SpansDoNotMeet;

impl Claim for SpansDoNotMeet {
    fn check<T: Attend, S: Element>(&self, kernel: (T, Instructions)) {
        let together = shape((4, 2, 34), &[7, 150, 0, 1, 62]);
        for limits in [Limits::default(), SMALL] {
            let mut run = Run::<S>::new(&together, 3);
            both(kernel, &mut run, &together, limits);
            let expected = results(&run, &together);
            for (index, &span) in together.spans.iter().enumerate() {
                let alone = shape((4, 2, 34), &[span.length]);
                let part = |values: &[S], width: usize| values[span.query * width..][..span.length * width].to_vec();
                let mut own = Run::<S>::new(&alone, 0);
                own.q = part(&run.q, 4 * 34);
                own.dout = part(&run.dout, 4 * 34);
                (own.k, own.v) = (part(&run.k, 2 * 34), part(&run.v, 2 * 34));
                both(kernel, &mut own, &alone, limits);
                assert_eq!(results(&own, &alone), expected[index * 5..][..5], "span {index}, {:?}", kernel.1);
            }
        }
    }
}

#[test]
fn a_span_is_the_same_in_any_company() {
    on_every_kernel(&SpansDoNotMeet);
}

struct ThreadsDoNotShow;

impl Claim for ThreadsDoNotShow {
    fn check<T: Attend, S: Element>(&self, kernel: (T, Instructions)) {
        let shape = shape((3, 1, 64), &[300, 1, 45, 0, 2]);
        for limits in [Limits::default(), SMALL] {
            let on = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let mut run = Run::<S>::new(&shape, 3);
                pool.install(|| both(kernel, &mut run, &shape, limits));
                results(&run, &shape)
            };
            let expected = on(1);
            assert!([2, 3].into_iter().all(|threads| on(threads) == expected), "{:?}", kernel.1);
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    on_every_kernel(&ThreadsDoNotShow);
}

struct NanStays;

impl Claim for NanStays {
    fn check<T: Attend, S: Element>(&self, kernel: (T, Instructions)) {
        let shape = shape((2, 1, 34), &[7, 3, 41, 1]);
        for limits in [Limits::default(), SMALL] {
            for bad in 0..shape.spans.len() {
                let mut run = Run::<S>::new(&shape, 3);
                let row = shape.spans[bad].query + shape.spans[bad].length - 1;
                (run.q[row * 68], run.k[row * 34], run.v[row * 34]) = [S::narrow(f32::NAN); 3].into();
                both(kernel, &mut run, &shape, limits);
                for (index, results) in results(&run, &shape).chunks(5).enumerate() {
                    let nan = results.iter().flatten().any(|&bits| f32::from_bits(bits).is_nan());
                    assert_eq!(nan, index == bad, "span {index} with NaN in {bad}, {:?}", kernel.1);
                }
            }
        }
    }
}

#[test]
fn nan_stays_in_its_span() {
    on_every_kernel(&NanStays);
}

struct ColumnsOfOneMatrix;

impl Claim for ColumnsOfOneMatrix {
    fn check<T: Attend, S: Element>(&self, kernel: (T, Instructions)) {
        let shape = shape((3, 1, 34), &[29, 8]);
        let (mut run, widths) = (Run::<S>::new(&shape, 3), [102, 34, 34]);
        let wide: Vec<S> = (0..shape.rows())
            .flat_map(|row| {
                let parts = [&run.q, &run.k, &run.v].into_iter().zip(widths);
                parts.flat_map(move |(values, width)| values[row * width..][..width].to_vec())
            })
            .collect();
        both(kernel, &mut run, &shape, SMALL);
        let view = |from: usize| View { values: &wide[from..], stride: 170 };
        let inputs = Inputs { q: view(0), k: view(102), v: view(136), shape: &shape };
        let (mut out, mut lse) = (run.out.clone(), run.lse.clone());
        out.fill(S::ZERO);
        lse.fill(0.0);
        let to = ViewMut { values: &mut out, stride: 102 };
        forward::within(kernel.0, kernel.1, &inputs, to, &mut lse, SMALL);
        assert!(out == run.out && lse == run.lse, "{:?}", kernel.1);
        let split = |run: &Run<S>| {
            let out = View { values: &run.out[..], stride: 102 };
            let saved = Saved { q: view(0), k: view(102), v: view(136), out, lse: &run.lse };
            let inputs = backward::Inputs { dout: View { values: &run.dout, stride: 102 }, saved, shape: &shape };
            let mut dq = vec![S::ZERO; run.q.len()];
            let (mut dk, mut dv) = (vec![S::ZERO; run.k.len()], vec![S::ZERO; run.v.len()]);
            let gradients = Gradients {
                q: ViewMut { values: &mut dq, stride: 102 },
                k: ViewMut { values: &mut dk, stride: 34 },
                v: ViewMut { values: &mut dv, stride: 34 },
            };
            backward::within(kernel.0, kernel.1, &inputs, gradients, SMALL);
            (dq, dk, dv)
        };
        assert!(split(&run) == (run.dq.clone(), run.dk.clone(), run.dv.clone()), "{:?}", kernel.1);
    }
}

#[test]
fn columns_of_a_wider_matrix_are_read_the_same() {
    on_every_kernel(&ColumnsOfOneMatrix);
}

struct EitherWayRound;

impl Claim for EitherWayRound {
    fn check<T: Attend, S: Element>(&self, (tile, instructions): (T, Instructions)) {
        let depth = 7 * T::GROUP;
        let values: Vec<T::Element> = stored(&noise(T::ROWS * depth, 1, |value| value));
        let panel: Vec<T::Element> = stored(&noise(T::COLS * depth, 2, |value| value));
        let mut transposed = values.clone();
        let stride = T::ROWS * T::GROUP;
        for (i, row) in values.chunks_exact(depth).enumerate() {
            for (k, &value) in row.iter().enumerate() {
                transposed[k / T::GROUP * stride + i * T::GROUP + k % T::GROUP] = value;
            }
        }
        let mut sums = [vec![1.0; T::ROWS * T::COLS], vec![1.0; T::ROWS * T::COLS]];
        tile.run(depth, &values, depth, &panel, &mut sums[0]);
        tile.run_transposed(depth, &transposed, stride, &panel, &mut sums[1]);
        assert_eq!(sums[0], sums[1], "{instructions:?}");
    }
}

#[test]
fn a_tile_takes_its_rows_either_way_round() {
    on_every_kernel(&EitherWayRound);
}
