// Many changes → few requests: at most one under way, and after it only the newest state.

/**
 * A function to call at every change. The first change starts `work` after `pauseMilliseconds`; changes until it is
 * done start it once more. So answers keep coming while somebody types or draws, and none is older than the one shown.
 */
export function newest(work, pauseMilliseconds) {
  let isWaiting = false;
  let isRunning = false;
  let isStale = false;

  async function start() {
    isWaiting = false;
    isRunning = true;
    isStale = false;
    try {
      await work();
    } finally {
      isRunning = false;
    }
    if (isStale) change();
  }

  function change() {
    if (isRunning) isStale = true;
    else if (!isWaiting) {
      isWaiting = true;
      setTimeout(start, pauseMilliseconds);
    }
  }
  return change;
}
