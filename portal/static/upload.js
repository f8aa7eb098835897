// The upload form. The credential travels in the Authorization header of each request
// and is kept nowhere. XMLHttpRequest, because fetch does not report upload progress.
"use strict";

(() => {
  const form = document.getElementById("upload");
  const texts = document.getElementById("texts").dataset;
  const sending = document.getElementById("sending");
  const phase = document.getElementById("phase");
  const progress = document.getElementById("progress");
  const result = document.getElementById("result");
  const cancel = document.getElementById("cancel");
  const submit = form.querySelector("button[type=submit]");
  const chinese = document.documentElement.lang.startsWith("zh");
  let request = null;
  // One key per form as it stands: sending it again after a broken connection registers once.
  let attempt = null;

  // Text only, never markup: what comes back may hold names that a sender chose.
  const element = (name, text, attributes = {}) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };

  const value = (name) => form.elements.namedItem(name).value.trim();

  const show = (...parts) => {
    result.replaceChildren(...parts);
    result.hidden = false;
    result.focus();
  };

  const newAttempt = () =>
    [...crypto.getRandomValues(new Uint8Array(16))].map((n) => n.toString(16).padStart(2, "0")).join("");

  form.addEventListener("input", () => {
    attempt = null;
  });

  // --- choices ---------------------------------------------------------------------

  const loadTypes = async () => {
    const select = form.elements.namedItem("type");
    let next = null;
    do {
      const query = next === null ? "?limit=200" : `?limit=200&cursor=${encodeURIComponent(next)}`;
      const answer = await fetch(`/v1/catalogue/material-types${query}`);
      if (!answer.ok) throw new Error(String(answer.status));
      const page = await answer.json();
      for (const type of page.items) {
        const label = chinese ? `${type.name.zh}（${type.key}）` : `${type.name.en} (${type.key})`;
        select.append(element("option", label, { value: type.key }));
      }
      next = page.next;
    } while (next !== null);
  };

  // What the case is and requires: a clerk sees at once whether it is the right one.
  const about = document.getElementById("about");
  let asked = null;

  const loadCase = async () => {
    const [token, number] = [value("token"), form.elements.namedItem("case")];
    const wanted = token !== "" && number.value !== "" && number.checkValidity();
    const question = wanted ? `${token} ${value("case")}` : null;
    if (question === asked) return;
    asked = question;
    const select = form.elements.namedItem("requirement");
    select.replaceChildren(select.options[0]);
    about.hidden = true;
    if (!wanted) return;
    const answer = await fetch(`/v1/cases/${value("case")}`, authorised(token)).catch(() => null);
    const found = answer === null ? null : parsed(await answer.text().catch(() => ""));
    if (question !== asked || found === null) return; // sending it tells what is wrong
    const word = (text) => (chinese ? text.zh : text.en);
    about.hidden = false;
    if (!answer.ok) {
      about.textContent = word(found) ?? found.title;
      return;
    }
    const who = found.applicant_party?.name;
    about.textContent = [found.number, word(found.matter_name), who ? `${texts.applicant} ${who}` : ""].filter(Boolean).join(" · ");
    for (const one of found.requirements) {
      const lacking = one.mandatory ? texts.missing : texts.optional;
      const label = `${word(one.name)} · ${one.met === null ? lacking : texts.met}`;
      select.append(element("option", label, { value: one.requirement, "data-type": one.type }));
    }
  };

  for (const name of ["token", "case"]) {
    form.elements.namedItem(name).addEventListener("change", loadCase);
  }

  form.elements.namedItem("requirement").addEventListener("change", (event) => {
    const type = event.target.selectedOptions[0].dataset.type;
    if (type) form.elements.namedItem("type").value = type;
  });

  // --- parties ---------------------------------------------------------------------

  const parties = document.getElementById("parties");
  const addParty = document.getElementById("add-party");

  const numberParties = () => {
    const blocks = parties.querySelectorAll(".party");
    for (const block of blocks) block.querySelector(".remove").hidden = blocks.length === 1;
  };

  addParty.addEventListener("click", () => {
    const block = parties.querySelector(".party").cloneNode(true);
    for (const field of block.querySelectorAll("input")) {
      field.value = "";
      field.removeAttribute("aria-invalid");
    }
    addParty.before(block);
    numberParties();
    block.querySelector("select").focus();
  });

  parties.addEventListener("click", (event) => {
    if (!event.target.classList.contains("remove")) return;
    event.target.closest(".party").remove();
    numberParties();
    addParty.focus();
  });

  const partyList = () => {
    const list = [];
    for (const block of parties.querySelectorAll(".party")) {
      const field = (name) => block.querySelector(`[name=${name}]`).value.trim();
      if (field("party_code") === "" && field("party_name") === "") continue;
      list.push({
        type: field("party_type"),
        code: field("party_code"),
        name: field("party_name"),
        role: field("party_role"),
      });
    }
    return list;
  };

  // --- sending ---------------------------------------------------------------------

  const certified = form.elements.namedItem("provenance");
  const certifiedBy = document.getElementById("certified");
  const toggleCertified = () => {
    certifiedBy.hidden = certified.value !== "certified_copy";
  };
  certified.addEventListener("change", toggleCertified);

  const valid = () => {
    let first = null;
    for (const field of form.elements) {
      if (!field.willValidate) continue;
      const good = field.checkValidity();
      if (good) field.removeAttribute("aria-invalid");
      else {
        field.setAttribute("aria-invalid", "true");
        first = first ?? field;
      }
    }
    if (first !== null) first.reportValidity();
    return first === null;
  };

  const body = () => {
    const data = new FormData();
    // Fields first: the server can refuse before the files have come.
    for (const name of ["requirement", "type", "title", "provenance", "certified_by", "issued_at", "valid_until", "reason"]) {
      const text = value(name);
      if (text !== "" && !(name === "certified_by" && certifiedBy.hidden)) data.append(name, text);
    }
    const list = partyList();
    if (list.length > 0) data.append("parties", JSON.stringify(list));
    for (const file of form.elements.namedItem("files").files) data.append("file", file, file.name);
    return data;
  };

  const busy = (on) => {
    submit.disabled = on;
    cancel.hidden = !on;
    sending.hidden = !on;
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (request !== null || !valid()) return;
    const token = value("token");
    result.hidden = true;
    progress.value = 0;
    phase.textContent = texts.sending;
    busy(true);
    request = new XMLHttpRequest();
    request.open("POST", `/v1/cases/${encodeURIComponent(value("case"))}/materials/form`);
    request.setRequestHeader("Authorization", `Bearer ${token}`);
    attempt = attempt ?? newAttempt();
    request.setRequestHeader("Idempotency-Key", attempt);
    request.upload.addEventListener("progress", (step) => {
      if (step.lengthComputable) progress.value = (100 * step.loaded) / step.total;
    });
    request.upload.addEventListener("load", () => {
      phase.textContent = texts.registering;
      progress.removeAttribute("value");
    });
    const end = (show_result) => () => {
      const finished = request;
      request = null;
      busy(false);
      show_result(finished);
    };
    request.addEventListener("load", end((finished) => answered(finished, token)));
    request.addEventListener("error", end(() => refuse(texts.failedNetwork)));
    request.addEventListener("abort", end(() => refuse(texts.cancelled)));
    request.send(body());
  });

  cancel.addEventListener("click", () => request?.abort());

  // --- answers ---------------------------------------------------------------------

  const refuse = (message, code) => {
    result.className = "panel bad";
    const parts = [element("h2", texts.refused), element("p", message, { id: "refusal" })];
    if (code) {
      parts.push(element("p"));
      parts.at(-1).append(element("code", code));
    }
    show(...parts);
  };

  const parsed = (text) => {
    try {
      return JSON.parse(text);
    } catch {
      return null;
    }
  };

  const answered = (finished, token) => {
    const answer = parsed(finished.responseText);
    if (answer === null) return refuse(`HTTP ${finished.status}`);
    if (finished.status < 200 || finished.status > 299) {
      return refuse((chinese ? answer.zh : answer.en) ?? answer.title, answer.code);
    }
    registered(answer, token);
  };

  const registered = (answer, token) => {
    attempt = null;
    result.className = "panel";
    const files = element("div");
    const state = element("p", texts.receiptPending, { id: "receipt-state" });
    const id = element("p", `${texts.materialId} `);
    id.append(element("code", answer.material_id, { id: "material-id" }));
    show(element("h2", texts.done), id, files, element("h3", texts.receipt), state);
    showFiles(answer.material_id, token, files);
    fetchReceipt(answer.receipt.href, answer.material_id, token, state, 0);
  };

  const authorised = (token, more = {}) => ({ headers: { Authorization: `Bearer ${token}`, ...more } });

  // What the store computed, read back from the record: not what this page believes it sent.
  const showFiles = async (material, token, place) => {
    const answer = await fetch(`/v1/materials/${material}`, authorised(token)).catch(() => null);
    if (answer === null || !answer.ok) return;
    const table = element("table");
    const head = table.createTHead().insertRow();
    for (const text of [texts.file, texts.fileDigests]) head.append(element("th", text, { scope: "col" }));
    const rows = table.createTBody();
    for (const file of (await answer.json()).files) {
      const row = rows.insertRow();
      row.append(element("th", `${file.name} (${file.size} ${texts.bytes})`, { scope: "row" }));
      const digests = row.insertCell();
      for (const [name, digest] of [["SHA-256", file.digests.sha256], ["SM3", file.digests.sm3]]) {
        const line = element("div", `${name} `);
        line.append(element("code", digest));
        digests.append(line);
      }
    }
    place.append(table);
  };

  // The receipt exists once a signed checkpoint covers the record; the server says when to ask again.
  const fetchReceipt = async (href, material, token, state, tries) => {
    const answer = await fetch(href, authorised(token, { Prefer: "wait=5" })).catch(() => null);
    if (answer !== null && answer.status === 200) {
      const link = element("a", texts.receiptSave, {
        href: URL.createObjectURL(await answer.blob()),
        download: `${material}.json`,
        id: "receipt",
      });
      state.replaceChildren(element("span", texts.receiptReady, { class: "badge good" }), " ", link);
      return;
    }
    if (answer !== null && answer.status !== 202) {
      state.textContent = `${texts.refused}: HTTP ${answer.status}`;
      return;
    }
    if (tries < 60) {
      setTimeout(() => fetchReceipt(href, material, token, state, tries + 1), 1000);
    }
  };

  toggleCertified();
  numberParties();
  loadTypes().catch(() => refuse(texts.failedNetwork));
})();
