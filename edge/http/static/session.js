"use strict";
// The token is remembered by this browser for this device. Every request carries it in a header, never in an address or a cookie.
const session = {
  get token() { return localStorage.getItem("edge-run-token") || ""; },
  set token(value) { localStorage.setItem("edge-run-token", value); },
};
const $ = (id) => document.getElementById(id);

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// Of several runs the one that the address names; what is asked is asked of it.
const chosen = new URLSearchParams(location.search).get("model");

async function api(path, options = {}) {
  if (chosen) path += `?model=${encodeURIComponent(chosen)}`;
  const headers = new Headers(options.headers || {});
  if (session.token) headers.set("Authorization", `Bearer ${session.token}`);
  const response = await fetch(path, { ...options, headers });
  if (response.status === 401) {
    askForToken(Boolean(session.token));
    throw new Error("a token is needed");
  }
  return response;
}

function askForToken(wrong) {
  $("page").hidden = true;
  $("login").hidden = false;
  $("login-error").textContent = wrong ? "That is not this device's token." : "";
  $("token").setAttribute("aria-invalid", String(wrong));
  if (document.activeElement !== $("token")) $("token").focus();
}

function onToken(start) {
  $("login-form").addEventListener("submit", (event) => {
    event.preventDefault();
    session.token = $("token").value.trim();
    $("login").hidden = true;
    $("page").hidden = false;
    start();
  });
}
