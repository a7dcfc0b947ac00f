/** Milliseconds of processor time that this process took for the work. What others do on the same machine meanwhile does not count. */
export function processorTime(work: () => void): number {
  const began = process.cpuUsage();
  work();
  return millisecondsSince(began);
}

/** Milliseconds of processor time since `process.cpuUsage()` gave `began`. */
export function millisecondsSince(began: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(began);
  return (user + system) / 1000;
}

/**
 * The least of up to three measurements; one below `enough` is taken at once. What a piece of work costs, it costs each time: a collection
 * of garbage, a compiler beside it or a cold cache comes once.
 */
export function least(measure: () => number, enough: number): number {
  let found = Number.POSITIVE_INFINITY;
  for (let attempt = 0; attempt < 3 && found >= enough; attempt++) found = Math.min(found, measure());
  return found;
}

/** How many times longer than alone on the machine work takes at the moment: 1 when nothing else wants the processor. */
export function slowness(): number {
  const began = performance.now();
  const worked = processorTime(() => {
    const start = process.cpuUsage();
    while (process.cpuUsage(start).user < 250_000);
  });
  return Math.max(1, (performance.now() - began) / worked);
}
