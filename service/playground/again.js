// Failures that may pass → the same once more, by itself: not before the service said, and ever more slowly.

const FIRST_SECONDS = 2;
const LONGEST_SECONDS = 30;

/** At most one attempt is planned at a time; a newer failure takes its place. */
export function makeAgain() {
  let timer = 0;
  let failures = 0;

  return {
    /** Calls `work` later; returns in how many seconds, null for a failure that will not pass. */
    plan(failure, work) {
      clearTimeout(timer);
      if (!failure.retryable) return null;
      const pause = Math.min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** failures);
      const seconds = Math.max(pause, failure.retryAfter);
      failures += 1;
      timer = setTimeout(work, seconds * 1000);
      return seconds;
    },
    /** After an answer, or when nothing is to be asked any more. */
    stop() {
      clearTimeout(timer);
      failures = 0;
    },
  };
}
