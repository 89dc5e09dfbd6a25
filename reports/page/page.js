"use strict";
// Filters and sorts what is there already. Without it everything can be read all the same.
for (const form of document.querySelectorAll(".filter")) {
  const rows = [...document.querySelectorAll(`#${form.dataset.for} > tbody > tr`)];
  const [words, kind, told] = ["input", "select", "output"].map((name) => form.querySelector(name));
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const filter = () => {
    const wanted = words.value.toLowerCase().split(/\s+/);
    let shown = 0;
    rows.forEach((row, at) => {
      const fits = (!kind.value || row.dataset.kind === kind.value) && wanted.every((word) => texts[at].includes(word));
      row.hidden = !fits;
      const also = row.dataset.also && document.getElementById(row.dataset.also);
      if (also) also.hidden = !fits;
      shown += fits;
    });
    told.textContent = shown === rows.length ? "" : `${shown} of ${rows.length}`;
  };
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
}
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = (row) => row.cells[column].dataset.key ?? row.cells[column].textContent.trim();
      const rows = [...table.tBodies[0].rows].map((row) => [key(row), row]);
      rows.sort(([a], [b]) => (up ? 1 : -1) * a.localeCompare(b, undefined, { numeric: true }));
      table.tBodies[0].append(...rows.map(([, row]) => row));
    });
  });
}
