//! temporary
use super::CpuBackend;
use super::kernel::product::Values;
use super::matrix::{Matrix, Storage, ValuesMut};
use crate::backend::{AttentionSaved, AttentionShape, Result};

fn store(m: &mut Matrix, v: &[f32]) -> Result<()> { m.write(0, Values::F32(v)) }

impl CpuBackend {
    pub(super) fn attend(&self, q: &Matrix, k: &Matrix, v: &Matrix, shape: &AttentionShape) -> Result<(Matrix, Matrix)> {
        let mut out = self.new_matrix(q.rows(), q.cols(), q.storage())?;
        let mut lse = self.new_matrix(q.rows(), shape.heads, Storage::F32)?;
        if self.pool.is_dry() { return Ok((out, lse)); }
        let (qv, kv, vv) = (q.read(), k.read(), v.read());
        let (d, h, g) = (shape.head_dim, shape.heads, shape.group());
        let mut o = vec![0f32; q.len()]; let mut l = vec![0f32; q.rows() * h];
        for s in &shape.spans { for i in 0..s.length { for head in 0..h {
            let row = s.query + i; let n = s.start + i + 1;
            let qr = &qv[(row*h+head)*d..][..d];
            let sc: Vec<f32> = (0..n).map(|j| { let kr = &kv[((s.key+j)*shape.kv_heads + head/g)*d..][..d]; qr.iter().zip(kr).map(|(a,b)| a*b).sum::<f32>() / (d as f32).sqrt() }).collect();
            let m = sc.iter().fold(f32::MIN, |a,&b| a.max(b)); let t: f32 = sc.iter().map(|x| (x-m).exp()).sum();
            l[row*h+head] = m + t.ln();
            for (j, x) in sc.iter().enumerate() { let p = (x-m).exp()/t; let vr = &vv[((s.key+j)*shape.kv_heads + head/g)*d..][..d]; for c in 0..d { o[(row*h+head)*d+c] += p*vr[c]; } }
        }}}
        store(&mut out, &o)?; store(&mut lse, &l)?;
        Ok((out, lse))
    }
    pub(super) fn attend_grad(&self, dout: &Matrix, saved: &AttentionSaved<'_, Matrix>, shape: &AttentionShape) -> Result<[Matrix; 3]> {
        let mut dq = self.new_matrix(saved.q.rows(), saved.q.cols(), saved.q.storage())?;
        let mut dk = self.new_matrix(saved.k.rows(), saved.k.cols(), saved.q.storage())?;
        let mut dv = self.new_matrix(saved.v.rows(), saved.v.cols(), saved.q.storage())?;
        if self.pool.is_dry() { return Ok([dq, dk, dv]); }
        let (qv, kv, vv, ov, lse, dov) = (saved.q.read(), saved.k.read(), saved.v.read(), saved.out.read(), saved.lse.read(), dout.read());
        let (d, h, g, kh) = (shape.head_dim, shape.heads, shape.group(), shape.kv_heads);
        let (mut a, mut b, mut c) = (vec![0f32; dq.len()], vec![0f32; dk.len()], vec![0f32; dv.len()]);
        let scale = 1.0 / (d as f32).sqrt();
        for s in &shape.spans { for i in 0..s.length { for head in 0..h {
            let row = s.query + i; let at = (row*h+head)*d;
            let big: f32 = (0..d).map(|x| dov[at+x]*ov[at+x]).sum();
            for j in 0..s.start+i+1 {
                let kt = ((s.key+j)*kh + head/g)*d;
                let sc: f32 = (0..d).map(|x| qv[at+x]*kv[kt+x]).sum::<f32>()*scale;
                let p = (sc - lse[row*h+head]).exp();
                let dp: f32 = (0..d).map(|x| dov[at+x]*vv[kt+x]).sum();
                let ds = p*(dp-big)*scale;
                for x in 0..d { c[kt+x] += p*dov[at+x]; a[at+x] += ds*kv[kt+x]; b[kt+x] += ds*qv[at+x]; }
            }
        }}}
        store(&mut dq, &a)?; store(&mut dk, &b)?; store(&mut dv, &c)?;
        let _ = ValuesMut::F32(&mut []);
        Ok([dq, dk, dv])
    }
}
