# Linear algebra, transforms and statistics with numpy.
import numpy as np

rng = np.random.default_rng(7)
a = rng.standard_normal((500, 500))
s = np.linalg.svd(a, compute_uv=False)
b = a @ a.T + 500 * np.eye(500)
x = np.linalg.solve(b, np.arange(500.0))
l = np.linalg.cholesky(b)
e = np.linalg.eigvalsh(b)
signal = rng.standard_normal(1 << 20)
spectrum = np.abs(np.fft.rfft(signal))
smooth = np.convolve(signal[:60000], np.hanning(301), mode="same")
grid = np.zeros((300, 300))
grid[0] = 100
for _ in range(800):
    grid[1:-1, 1:-1] = 0.25 * (grid[:-2, 1:-1] + grid[2:, 1:-1] + grid[1:-1, :-2] + grid[1:-1, 2:])
order = np.argsort(rng.random(500000))
print(f"{s.sum():.6f} {x.sum():.6f} {np.trace(l):.6f} {e.max():.4f} {spectrum.max():.4f} {smooth.std():.6f} {grid.sum():.5f} {order[:3]}")
