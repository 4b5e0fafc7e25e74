import { mount } from 'svelte';
import '../markdown/markdown.css';
import App from './App.svelte';
import './app.css';
import './conversation.css';
import './dock.css';
import './print.css';

mount(App, { target: document.getElementById('app')! });
