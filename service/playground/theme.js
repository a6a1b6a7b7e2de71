// Sets the chosen colours before the page is drawn, so that it does not flash; runs before the modules.
"use strict";
try {
  const theme = localStorage.getItem("clipmax.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage is off: the system's colours are right.
}
